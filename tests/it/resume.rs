//! A client that loses its connection at random points, while others write:
//! it resumes, and what it has seen in the end is the log.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::{join, join_all};
use mingle_client::ws::{
    Client, Encoding, Error,
    close::Close,
    proto::{Position, Resume, RoomPosition},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    ledger::{Ledger, Row},
    world::{World, greet, logged, next_event, number},
};

const WRITERS: usize = 8;
const ROUNDS: usize = 80;
/// Messages of one writer at most: a bound, not a goal.
const SAID: usize = 3000;

/// The client that comes and goes.
struct Wanderer {
    url: String,
    /// The last event seen of each room.
    at: BTreeMap<String, Position>,
    /// The head of each room when it was last told.
    head: BTreeMap<String, u64>,
    /// Every event seen of each room.
    seen: BTreeMap<String, Vec<Position>>,
    resume_token: String,
    resumed: u32,
    replayed: u64,
    superseded: u32,
    unproved: u32,
    refused: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_drops_and_resumes_misses_nothing() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let writers: Vec<String> = (0..WRITERS).map(|number| format!("writer-{number}")).collect();
    let mut members: Vec<&str> = writers.iter().map(String::as_str).collect();
    members.push("wanderer");
    let rooms = [world.room(&members).await, world.room(&members).await];

    let over = Arc::new(AtomicBool::new(false));
    let writing: Vec<_> = writers
        .iter()
        .map(|user| {
            let (user, url, rooms) = (user.clone(), world.url(), rooms.clone());
            tokio::spawn(write(url, user, rooms, dice.random(), over.clone()))
        })
        .collect();
    let (mut wanderer, mut client) = Wanderer::begin(world.url(), &rooms).await;
    for _ in 0..ROUNDS {
        // Sometimes far behind, sometimes at the head with the others.
        if dice.random_bool(0.3) {
            wanderer.read_up_to_date(&mut client).await;
        }
        for _ in 0..dice.random_range(0..40) {
            wanderer.read(&mut client).await;
        }
        client = match dice.random_range(0..10) {
            0..5 => {
                drop(client);
                wanderer.resume().await
            }
            5 => {
                client.close().await.unwrap();
                wanderer.resume().await
            }
            // While the former socket is still there.
            6 => {
                let newer = wanderer.resume().await;
                wanderer.lose(client).await;
                newer
            }
            7 => wanderer.resume_twice_at_once().await,
            8 => wanderer.resume_with_a_wrong_id().await,
            _ => wanderer.resume_after_a_refusal().await,
        };
    }
    over.store(true, Ordering::Relaxed);
    let said: usize = join_all(writing).await.into_iter().map(Result::unwrap).sum();

    let ledger = Ledger::open(world.mingle.data_dir()).await;
    ledger.assert_gapless().await;
    let logs = ledger.rooms().await;
    ledger.close().await;
    for room in &rooms {
        wanderer.read_up_to(&mut client, room, logs[room].len() as u64).await;
        assert_eq!(wanderer.seen[room], logs[room].iter().map(position).collect::<Vec<_>>());
        assert_history(&world, room, &logs[room]).await;
    }
    let Wanderer { resumed, replayed, superseded, unproved, refused, .. } = wanderer;
    eprintln!(
        "{said} said; {resumed} resumes, {replayed} events replayed, {superseded} superseded, \
         {unproved} not proved, {refused} refused"
    );
    assert!(resumed > 0 && replayed > 0 && superseded > 0 && unproved > 0 && refused > 0);
}

fn position(row: &Row) -> Position {
    row.position.clone()
}

/// Says, edits and deletes until it is over; returns how often it did.
async fn write(
    url: String,
    user: String,
    rooms: [String; 2],
    seed: u64,
    over: Arc<AtomicBool>,
) -> usize {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut client = greet(&url, &user, Encoding::Proto, None).await.unwrap();
    let mut done = 0;
    while !over.load(Ordering::Relaxed) && done < SAID {
        let room = &rooms[dice.random_range(0..2)];
        let sent = client.send(room, &format!("m{done}"), &format!("{done}")).await.unwrap();
        match dice.random_range(0..20) {
            0 => drop(client.edit(room, &sent.message_id, "edited").await.unwrap()),
            1 => drop(client.delete(room, &sent.message_id).await.unwrap()),
            _ => {}
        }
        done += 1;
    }
    done
}

impl Wanderer {
    async fn begin(url: String, rooms: &[String; 2]) -> (Self, Client) {
        let mut client = greet(&url, "wanderer", Encoding::Json, None).await.unwrap();
        for room in rooms {
            let state = client.room_join(room, Some(Position::default())).await.unwrap();
            assert!(state.recovered, "{state:?}");
        }
        let wanderer = Self {
            url,
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
    async fn read(&mut self, client: &mut Client) {
        let event = next_event(client).await.unwrap();
        let Some((room, position)) = logged(&event) else { return };
        let at = self.at.get_mut(room).unwrap();
        assert_eq!(position.seq, at.seq + 1, "a hole or a repetition in {room}: {event:?}");
        *at = position.clone();
        self.seen.get_mut(room).unwrap().push(position);
    }

    async fn read_up_to(&mut self, client: &mut Client, room: &str, seq: u64) {
        while self.at[room].seq < seq {
            self.read(client).await;
        }
    }

    /// Reads what was there when this connection began, and is then live.
    async fn read_up_to_date(&mut self, client: &mut Client) {
        for (room, head) in self.head.clone() {
            self.read_up_to(client, &room, head).await;
        }
    }

    async fn hello(&self, user: &str, at: &BTreeMap<String, Position>) -> Result<Client, Error> {
        let rooms = at.iter().map(|(room, after)| RoomPosition {
            room_id: room.clone(),
            after: Some(after.clone()),
        });
        let resume = Resume { token: self.resume_token.clone(), rooms: rooms.collect() };
        greet(&self.url, user, Encoding::Json, Some(resume)).await
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

/// The messages of the log, as HTTP reads them.
async fn assert_history(world: &World, room: &str, log: &[Row]) {
    let history = world.history("wanderer", room).await;
    let read = history.iter().map(|message| {
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        (number(&message["seq"]), text("messageId"), text("senderId"), text("body"))
    });
    let rows = log.iter().filter(|row| row.is_message).cloned();
    let rows = rows.map(|row| (row.position.seq, row.position.id, row.actor, row.body));
    assert!(read.eq(rows), "the history of {room} is not its log");
}
