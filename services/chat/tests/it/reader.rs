//! A gateway's side of Subscribe: follow, replay up to the head, then live.

use std::{collections::HashMap, time::Duration};

use mingle_proto::chat::v1::{
    Event, Position, ReplayRequest, RoomIds, SubscribeRequest, SubscribeResponse,
    subscribe_request::Action, subscribe_response::Event as Told,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::stage::Client;

const PATIENCE: Duration = Duration::from_secs(30);

/// An event's place: what must be the same for everyone.
pub(crate) type Place = (u64, String);

pub(crate) struct Reader {
    client: Client,
    user: String,
    requests: Option<mpsc::Sender<SubscribeRequest>>,
    answers: Streaming<SubscribeResponse>,
    logs: HashMap<String, Vec<Place>>,
    /// Gaps told so far.
    pub(crate) gaps: usize,
    /// Events that came by Replay, and by the stream.
    pub(crate) replayed: usize,
    pub(crate) live: usize,
}

impl Reader {
    pub(crate) async fn open(mut client: Client, user: &str) -> Self {
        let (requests, stream) = mpsc::channel(16);
        let answers = client.subscribe(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self {
            client,
            user: user.to_owned(),
            requests: Some(requests),
            answers,
            logs: HashMap::new(),
            gaps: 0,
            replayed: 0,
            live: 0,
        }
    }

    async fn ask(&self, action: Action) {
        let request = SubscribeRequest { action: Some(action) };
        self.requests.as_ref().unwrap().send(request).await.unwrap();
    }

    pub(crate) async fn add(&self, room_id: &str) {
        self.ask(Action::Add(RoomIds { room_ids: vec![room_id.to_owned()] })).await;
    }

    pub(crate) async fn remove(&self, room_id: &str) {
        self.ask(Action::Remove(RoomIds { room_ids: vec![room_id.to_owned()] })).await;
    }

    /// Adds a room and waits until it is followed.
    pub(crate) async fn opened(&mut self, room_id: &str) -> Position {
        self.add(room_id).await;
        let answer = self.next().await;
        match answer.event {
            Some(Told::Opened(opened)) if answer.room_id == room_id => opened.head.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The same, and replays what was before.
    pub(crate) async fn follow(&mut self, room_id: &str) {
        let head = self.opened(room_id).await;
        let mut log = self.logs.remove(room_id).unwrap_or_default();
        self.replayed += self.replay_after(room_id, &mut log).await;
        assert!(log.contains(&(head.seq, head.id)), "the head is in the log");
        self.logs.insert(room_id.to_owned(), log);
    }

    pub(crate) fn end_requests(&mut self) {
        self.requests = None;
    }

    pub(crate) async fn next(&mut self) -> SubscribeResponse {
        self.message().await.unwrap().expect("the stream goes on")
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        loop {
            match self.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    async fn message(&mut self) -> Result<Option<SubscribeResponse>, Status> {
        timeout(PATIENCE, self.answers.message()).await.expect("an answer")
    }

    /// The log after a position, by Replay.
    async fn replay_after(&mut self, room_id: &str, log: &mut Vec<Place>) -> usize {
        let before = log.len();
        loop {
            let after = log.last().map(|(seq, id)| Position { seq: *seq, id: id.clone() });
            let request = ReplayRequest {
                actor: self.user.clone(),
                room_id: room_id.to_owned(),
                after,
                limit: 50,
            };
            let page = self.client.replay(request).await.unwrap().into_inner();
            assert!(page.recovered, "{}", page.reason);
            page.events.iter().for_each(|event| assert!(take(log, event), "a hole in a replay"));
            if !page.has_more {
                return log.len() - before;
            }
        }
    }

    /// The whole log, by Replay.
    pub(crate) async fn replay(&mut self, room_id: &str) -> Vec<Place> {
        let mut log = Vec::new();
        self.replay_after(room_id, &mut log).await;
        log
    }

    /// Reads the stream until it told the event at `last`; returns the log.
    pub(crate) async fn live_until(&mut self, room_id: &str, last: u64) -> Vec<Place> {
        let mut log = self.logs.remove(room_id).unwrap();
        while log.last().is_none_or(|(seq, _)| *seq < last) {
            let answer = self.next().await;
            assert_eq!(answer.room_id, room_id);
            match answer.event {
                Some(Told::Events(events)) => {
                    let consecutive = events.events.windows(2).all(|e| e[1].seq == e[0].seq + 1);
                    assert!(consecutive && !events.events.is_empty());
                    for event in &events.events {
                        assert!(take(&mut log, event), "a hole before {}", event.seq);
                    }
                    self.live += events.events.len();
                }
                Some(Told::Gap(_)) => {
                    self.gaps += 1;
                    self.replayed += self.replay_after(room_id, &mut log).await;
                }
                other => panic!("{other:?}"),
            }
        }
        self.logs.insert(room_id.to_owned(), log.clone());
        log
    }
}

/// Takes the next event; those that are there already must be the same. False
/// when one is missing before it.
pub(crate) fn take(log: &mut Vec<Place>, event: &Event) -> bool {
    let next = log.last().map_or(1, |(seq, _)| seq + 1);
    if event.seq == next {
        log.push((event.seq, event.id.clone()));
    } else if event.seq < next {
        let known = log.iter().find(|(seq, _)| *seq == event.seq);
        assert!(known.is_some_and(|(_, id)| *id == event.id), "another event at {}", event.seq);
    }
    event.seq <= next
}
