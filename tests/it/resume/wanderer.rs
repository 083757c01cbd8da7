//! The client that comes and goes, and what it remembers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join;
use mingle_client::ws::{
    Client, Encoding, Error,
    close::Close,
    proto::{Position, Resume, RoomPosition},
};
use rand::{Rng as _, rngs::StdRng};

use crate::world::{greet, logged, next_event};

/// The client that comes and goes.
pub(super) struct Wanderer {
    /// Where it may come to, in turn.
    urls: [String; 2],
    turn: AtomicUsize,
    /// The last event seen of each room.
    at: BTreeMap<String, Position>,
    /// The head of each room when it was last told.
    head: BTreeMap<String, u64>,
    /// Every event seen of each room.
    pub(super) seen: BTreeMap<String, Vec<Position>>,
    resume_token: String,
    pub(super) resumed: u32,
    pub(super) replayed: u64,
    pub(super) superseded: u32,
    pub(super) unproved: u32,
    pub(super) refused: u32,
}

impl Wanderer {
    pub(super) async fn begin(urls: [String; 2], rooms: &[String; 2]) -> (Self, Client) {
        let mut client = greet(&urls[0], "wanderer", Encoding::Json, None).await.unwrap();
        for room in rooms {
            let state = client.room_join(room, Some(Position::default())).await.unwrap();
            assert!(state.recovered, "{state:?}");
        }
        let wanderer = Self {
            urls,
            turn: AtomicUsize::new(1),
            at: rooms.iter().map(|room| (room.clone(), Position::default())).collect(),
            head: BTreeMap::new(),
            seen: rooms.iter().map(|room| (room.clone(), Vec::new())).collect(),
            resume_token: client.welcome().unwrap().resume_token.clone(),
            resumed: 0,
            replayed: 0,
            superseded: 0,
            unproved: 0,
            refused: 0,
        };
        (wanderer, client)
    }

    /// Takes one event, which is the next of its room.
    pub(super) async fn read(&mut self, client: &mut Client) {
        let event = next_event(client).await.unwrap();
        let Some((room, position)) = logged(&event) else { return };
        let at = self.at.get_mut(room).unwrap();
        assert_eq!(position.seq, at.seq + 1, "a hole or a repetition in {room}: {event:?}");
        *at = position.clone();
        self.seen.get_mut(room).unwrap().push(position);
    }

    pub(super) async fn read_up_to(&mut self, client: &mut Client, room: &str, seq: u64) {
        while self.at[room].seq < seq {
            self.read(client).await;
        }
    }

    /// Reads what was there when this connection began, and is then live.
    pub(super) async fn read_up_to_date(&mut self, client: &mut Client) {
        for (room, head) in self.head.clone() {
            self.read_up_to(client, &room, head).await;
        }
    }

    /// Loses the connection in one of many ways and resumes.
    pub(super) async fn lose_and_resume(&mut self, client: Client, dice: &mut StdRng) -> Client {
        match dice.random_range(0..10) {
            0..5 => {
                drop(client);
                self.resume().await
            }
            5 => {
                client.close().await.unwrap();
                self.resume().await
            }
            // While the former socket is still there.
            6 => {
                let newer = self.resume().await;
                self.lose(client).await;
                newer
            }
            7 => self.resume_twice_at_once().await,
            8 => self.resume_with_a_wrong_id().await,
            _ => self.resume_after_a_refusal().await,
        }
    }

    async fn hello(&self, user: &str, at: &BTreeMap<String, Position>) -> Result<Client, Error> {
        let rooms = at.iter().map(|(room, after)| RoomPosition {
            room_id: room.clone(),
            after: Some(after.clone()),
        });
        let resume = Resume { token: self.resume_token.clone(), rooms: rooms.collect() };
        let url = &self.urls[self.turn.fetch_add(1, Ordering::Relaxed) % 2];
        greet(url, user, Encoding::Json, Some(resume)).await
    }

    /// Notes the welcome of the client that goes on.
    fn take_up(&mut self, client: Client) -> Client {
        let welcome = client.welcome().unwrap();
        assert!(welcome.resumed);
        for room in &welcome.rooms {
            assert!(room.recovered, "{room:?}");
            self.replayed += room.head_seq - self.at[&room.room_id].seq;
            self.head.insert(room.room_id.clone(), room.head_seq);
        }
        self.resume_token = welcome.resume_token.clone();
        self.resumed += 1;
        client
    }

    async fn resume(&mut self) -> Client {
        let client = self.hello("wanderer", &self.at).await.unwrap();
        self.take_up(client)
    }

    /// What another socket took over ends with 4009, and nothing else.
    async fn lose(&mut self, mut client: Client) {
        loop {
            match next_event(&mut client).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.close(), Some(Close::Superseded), "{error}");
                    self.superseded += 1;
                    return;
                }
            }
        }
    }

    /// Two sockets with the same token: one stays, whichever it is.
    async fn resume_twice_at_once(&mut self) -> Client {
        let hello = || self.hello("wanderer", &self.at);
        let (one, other) = join(hello(), hello()).await;
        let (mut one, mut other) = match (one, other) {
            (Ok(one), Ok(other)) => (one, other),
            // The other took over before this one was welcomed.
            (Ok(only), Err(error)) | (Err(error), Ok(only)) => {
                assert_eq!(error.close(), Some(Close::Superseded), "{error}");
                self.superseded += 1;
                return self.take_up(only);
            }
            (Err(one), Err(other)) => panic!("neither stays: {one}, {other}"),
        };
        let (first, second) = join(one.ping(), other.ping()).await;
        // A pong may still come from the one that is about to be closed.
        let one_stays = match (first, second) {
            (Ok(_), Err(_)) => true,
            (Err(_), Ok(_)) => false,
            (Ok(_), Ok(_)) => is_closed(&mut other, &mut one).await,
            (Err(one), Err(other)) => panic!("neither stays: {one}, {other}"),
        };
        let (stays, goes) = if one_stays { (one, other) } else { (other, one) };
        self.lose(goes).await;
        let mut stays = self.take_up(stays);
        stays.ping().await.unwrap();
        stays
    }

    /// A position that is not of this log proves nothing; the room can then be
    /// joined with the right one.
    async fn resume_with_a_wrong_id(&mut self) -> Client {
        let mut wrong = self.at.clone();
        for position in wrong.values_mut().filter(|position| position.seq > 0) {
            position.id = "00000000-0000-7000-8000-000000000000".to_owned();
            self.unproved += 1;
        }
        let client = self.hello("wanderer", &wrong).await.unwrap();
        let welcome = client.welcome().unwrap().clone();
        for room in welcome.rooms.iter().filter(|room| wrong[&room.room_id].seq > 0) {
            assert_eq!((room.recovered, room.reason.as_str()), (false, "id_mismatch"), "{room:?}");
        }
        self.resume_token = welcome.resume_token;
        drop(client);
        self.resume().await
    }

    /// Somebody else cannot take the session.
    async fn resume_after_a_refusal(&mut self) -> Client {
        let error = self.hello("writer-0", &self.at).await.err().unwrap();
        assert_eq!(error.reason(), "TOKEN_INVALID", "{error}");
        self.refused += 1;
        self.resume().await
    }
}

/// Waits until one of two is closed; true when it is the first.
async fn is_closed(one: &mut Client, other: &mut Client) -> bool {
    async fn end(client: &mut Client) {
        while next_event(client).await.is_ok() {}
    }
    tokio::select! {
        () = end(one) => true,
        () = end(other) => false,
    }
}
