//! Somebody who says one thing after the other whatever happens to the
//! processes, and remembers what was acknowledged and what was heard.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mingle_client::ws::{
    Client, Encoding, Error,
    close::Close,
    proto::{Position, Resume, RoomPosition, Sent},
};
use tokio::{
    sync::{Barrier, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    ledger::Ledger,
    world::{SOON, greet, logged, next_event},
};

/// Between two tries of one thing.
const PAUSE: Duration = Duration::from_millis(100);

/// What all speakers of a test did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acknowledged: AtomicUsize,
    /// Sends that had to be tried again.
    pub(super) retried: AtomicUsize,
    /// Sessions that went on at another gateway.
    pub(super) resumed: AtomicUsize,
}

pub(super) struct Speaker {
    pub(super) user: String,
    pub(super) room: String,
    /// Where it connects, in turn.
    urls: Vec<String>,
    at: Position,
    /// Every event heard, in order.
    pub(super) heard: Vec<Position>,
    /// The key and the answer of each send.
    pub(super) said: Vec<(String, Sent)>,
    resume_token: String,
    tally: Arc<Tally>,
}

impl Speaker {
    /// `urls`: the first one is where it begins.
    pub(super) fn new(user: &str, room: &str, urls: Vec<String>, tally: Arc<Tally>) -> Self {
        Self {
            user: user.to_owned(),
            room: room.to_owned(),
            urls,
            at: Position::default(),
            heard: Vec::new(),
            said: Vec::new(),
            resume_token: String::new(),
            tally,
        }
    }

    /// Connects, or goes on at the next gateway that answers.
    pub(super) async fn connect(&mut self) -> Client {
        let begin = Instant::now();
        let mut pace = interval(PAUSE);
        loop {
            pace.tick().await;
            match self.try_connect().await {
                Ok(client) => return client,
                Err(error) if begin.elapsed() > SOON => panic!("{}: {error}", self.user),
                Err(Error::Connect(_) | Error::Closed { .. }) => self.urls.rotate_left(1),
                Err(error) if is_retryable(&error) => {}
                Err(error) => panic!("{}: {error}", self.user),
            }
        }
    }

    async fn try_connect(&mut self) -> Result<Client, Error> {
        let url = &self.urls[0];
        if self.resume_token.is_empty() {
            let mut client = greet(url, &self.user, Encoding::Json, None).await?;
            client.room_join(&self.room, Some(self.at.clone())).await?;
            self.resume_token = client.welcome().unwrap().resume_token.clone();
            return Ok(client);
        }
        let room = RoomPosition { room_id: self.room.clone(), after: Some(self.at.clone()) };
        let resume = Resume { token: self.resume_token.clone(), rooms: vec![room] };
        let mut client = greet(url, &self.user, Encoding::Json, Some(resume)).await?;
        let welcome = client.welcome().unwrap().clone();
        assert!(welcome.resumed, "{}: not resumed", self.user);
        self.resume_token = welcome.resume_token;
        // What could not be followed within the hello is joined by itself.
        if !welcome.rooms.iter().all(|room| room.recovered) {
            let room = client.room_join(&self.room, Some(self.at.clone())).await?;
            assert!(room.recovered, "{}: {room:?}", self.user);
        }
        self.tally.resumed.fetch_add(1, Relaxed);
        Ok(client)
    }

    /// Speaks until it is over; when all are quiet, hears up to the head of the
    /// log.
    pub(super) async fn live(
        mut self,
        pause: Duration,
        mut over: watch::Receiver<bool>,
        (quiet, ledger): (Arc<Barrier>, Arc<Ledger>),
    ) -> Self {
        let mut client = self.connect().await;
        let mut pace = interval(pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*over.borrow_and_update() {
            pace.tick().await;
            client = self.say(client).await;
            client = self.hear_what_came(client).await;
        }
        quiet.wait().await;
        let head = ledger.head(&self.room).await;
        while self.at.seq < head {
            client = match next_event(&mut client).await {
                Ok(event) => {
                    self.hear(&event);
                    client
                }
                Err(_) => self.connect().await,
            };
        }
        self
    }

    /// Says one thing, by the same key until it is acknowledged.
    async fn say(&mut self, mut client: Client) -> Client {
        let key = format!("{}-{}", self.user, self.said.len());
        let body = format!("{} says {key}", self.user);
        let mut tries = 0;
        let mut pace = interval(PAUSE);
        loop {
            pace.tick().await;
            tries += 1;
            match client.send(&self.room, &key, &body).await {
                Ok(sent) => {
                    self.tally.acknowledged.fetch_add(1, Relaxed);
                    self.tally.retried.fetch_add(usize::from(tries > 1), Relaxed);
                    self.said.push((key, sent));
                    return client;
                }
                Err(Error::Closed { code, .. }) => {
                    assert_ne!(code, Close::Superseded.code(), "{}", self.user);
                    client = self.connect().await;
                }
                Err(error) if is_retryable(&error) => {}
                Err(error) => panic!("{}: {error}", self.user),
            }
        }
    }

    async fn hear_what_came(&mut self, mut client: Client) -> Client {
        while client.waiting() > 0 {
            match next_event(&mut client).await {
                Ok(event) => self.hear(&event),
                Err(_) => return self.connect().await,
            }
        }
        client
    }

    /// Notes an event; each is the next of the log.
    fn hear(&mut self, event: &mingle_client::ws::proto::server_frame::Kind) {
        let Some((room, position)) = logged(event) else { return };
        assert_eq!((room, position.seq), (self.room.as_str(), self.at.seq + 1), "{event:?}");
        self.at = position.clone();
        self.heard.push(position);
    }
}

fn is_retryable(error: &Error) -> bool {
    match error {
        Error::Refused(error) => error.retry_after_ms > 0,
        Error::Timeout => true,
        _ => false,
    }
}
