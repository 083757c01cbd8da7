//! Pairs who talk until the server is gone: the load of the tests that take
//! it away, and what each talker remembers of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mingle_client::ws::{
    Client, Encoding, Error,
    proto::{Position, Resume, Room, Sent, server_frame::Kind},
};

use crate::world::{World, greet, logged, next_event};

/// What all talkers of a test did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: AtomicUsize,
    /// Sends that wait for their answer now.
    pub(crate) in_flight: AtomicUsize,
    pub(crate) retried: AtomicUsize,
}

/// An answered send.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) key: String,
    pub(crate) sent: Sent,
}

/// One talker in one room.
pub(crate) struct Talker {
    pub(crate) user: String,
    pub(crate) room: String,
    encoding: Encoding,
    /// Where the log was read to.
    pub(crate) at: Position,
    /// Every event seen: position by position.
    pub(crate) seen: Vec<Position>,
    pub(crate) said: Vec<Said>,
    /// The key of a send without answer.
    pub(crate) unanswered: Option<String>,
    pub(crate) resume_token: String,
    next: usize,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: u16,
    /// What `draining` told, if it came.
    pub(crate) retry_after_ms: Option<u32>,
}

/// Makes `pairs` rooms of two talkers each.
pub(crate) async fn pairs(world: &World, pairs: usize) -> Vec<Talker> {
    let mut talkers = Vec::new();
    for pair in 0..pairs {
        let users = [format!("ann-{pair}"), format!("bob-{pair}")];
        let room = world.room(&[&users[0], &users[1]]).await;
        talkers.extend(users.into_iter().zip(Encoding::ALL).map(|(user, encoding)| Talker {
            user,
            room: room.clone(),
            encoding,
            at: Position::default(),
            seen: Vec::new(),
            said: Vec::new(),
            unanswered: None,
            resume_token: String::new(),
            next: 0,
        }));
    }
    talkers
}

impl Talker {
    /// Connects, resuming when there was a session, and follows the room from
    /// the last event seen. Answers the room's state.
    pub(crate) async fn connect(&mut self, url: &str) -> (Client, Room) {
        let after = Some(self.at.clone());
        if self.resume_token.is_empty() {
            let mut client = greet(url, &self.user, self.encoding, None).await.unwrap();
            let room = client.room_join(&self.room, after).await.unwrap();
            self.resume_token = client.welcome().unwrap().resume_token.clone();
            return (client, room);
        }
        let rooms = [(self.room.clone(), self.at.clone())];
        let rooms = rooms.map(|(room_id, after)| mingle_client::ws::proto::RoomPosition {
            room_id,
            after: Some(after),
        });
        let resume = Resume { token: self.resume_token.clone(), rooms: rooms.into() };
        let client = greet(url, &self.user, self.encoding, Some(resume)).await.unwrap();
        let welcome = client.welcome().unwrap();
        assert!(welcome.resumed, "{}: not resumed", self.user);
        self.resume_token = welcome.resume_token.clone();
        let room = welcome.rooms[0].clone();
        (client, room)
    }

    /// Sends one message after the other, first what had no answer, until the
    /// connection is over; then reads to its end.
    pub(crate) async fn talk(mut self, mut client: Client, tally: Arc<Tally>) -> (Self, Ended) {
        let error = loop {
            let retry = self.unanswered.is_some();
            let key = self.unanswered.take().unwrap_or_else(|| self.fresh_key());
            let body = format!("{} says {key}", self.user);
            tally.in_flight.fetch_add(1, Ordering::Relaxed);
            let answer = client.send(&self.room, &key, &body).await;
            match answer {
                Ok(sent) => {
                    tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                    tally.retried.fetch_add(retry.into(), Ordering::Relaxed);
                    self.said.push(Said { key, sent });
                }
                Err(error) => {
                    self.unanswered = Some(key);
                    break error;
                }
            }
            tally.in_flight.fetch_sub(1, Ordering::Relaxed);
        };
        let ended = self.read_to_end(&mut client, error).await;
        (self, ended)
    }

    fn fresh_key(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.user, self.next)
    }

    /// Takes what came before the end.
    async fn read_to_end(&mut self, client: &mut Client, error: Error) -> Ended {
        let mut retry_after_ms = None;
        while client.waiting() > 0 {
            match next_event(client).await.unwrap() {
                Kind::Draining(draining) => retry_after_ms = Some(draining.retry_after_ms),
                event => self.see(&event),
            }
        }
        match error {
            Error::Closed { code, .. } => Ended { code, retry_after_ms },
            error => panic!("{}: {error}", self.user),
        }
    }

    /// Notes an event; each is the next of its log.
    pub(crate) fn see(&mut self, event: &Kind) {
        let Some((room, position)) = logged(event) else { return };
        assert_eq!((room, position.seq), (self.room.as_str(), self.at.seq + 1), "{event:?}");
        self.at = position.clone();
        self.seen.push(position);
    }

    /// Reads until `seq` was seen.
    pub(crate) async fn read_up_to(&mut self, client: &mut Client, seq: u64) {
        while self.at.seq < seq {
            let event = next_event(client).await.unwrap();
            self.see(&event);
        }
    }
}
