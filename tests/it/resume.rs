//! A client that loses its connection at random points, while others write:
//! it resumes, and what it has seen in the end is the log.

mod wanderer;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;
use mingle_client::ws::{Encoding, proto::Position};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use self::wanderer::Wanderer;
use crate::{
    ledger::Row,
    nemesis,
    world::{World, greet, number},
};

const WRITERS: usize = 8;
const ROUNDS: usize = 80;
/// Messages of one writer at most: a bound, not a goal.
const SAID: usize = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_drops_and_resumes_misses_nothing() {
    let seed = nemesis::seed();
    eprintln!("MINGLE_TEST_SEED={seed}");
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
    let (mut wanderer, mut client) = Wanderer::begin([world.url(), world.url()], &rooms).await;
    for _ in 0..ROUNDS {
        // Sometimes far behind, sometimes at the head with the others.
        if dice.random_bool(0.3) {
            wanderer.read_up_to_date(&mut client).await;
        }
        for _ in 0..dice.random_range(0..40) {
            wanderer.read(&mut client).await;
        }
        client = wanderer.lose_and_resume(client, &mut dice).await;
    }
    over.store(true, Ordering::Relaxed);
    let said: usize = join_all(writing).await.into_iter().map(Result::unwrap).sum();

    let ledger = world.ledger().await;
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
    world.assert_meshed(&["presence"]);
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
