//! `kill -9` under load: what was acknowledged is there after a restart.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use futures::future::join_all;
use mingle_testkit::eventually;

use crate::{
    ledger::{Ledger, Row},
    talkers::{self, Said, Talker, Tally},
    world::{SOON, World, number},
};

const PAIRS: usize = 60;
const KILLS: usize = 3;
/// Answers between two kills.
const BETWEEN: usize = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let tally = Arc::new(Tally::default());
    let start = async || World::from(World::builder().data_dir(folder.path())).await;
    let mut world = start().await;
    let mut talkers = talkers::pairs(&world, PAIRS).await;
    let (mut interrupted, mut committed) = (0, 0);
    for kill in 1..=KILLS {
        let url = world.url();
        let mut connected = Vec::new();
        for mut talker in talkers {
            let (client, room) = talker.connect(&url).await;
            assert!(room.recovered, "{room:?}");
            connected.push((talker, client));
        }
        let before = tally.acknowledged.load(Ordering::Relaxed);
        let talk = |(talker, client): (Talker, _)| tokio::spawn(talker.talk(client, tally.clone()));
        let talking: Vec<_> = connected.into_iter().map(talk).collect();
        eventually(SOON * 2, "the talkers have talked", async || {
            tally.acknowledged.load(Ordering::Relaxed) >= before + BETWEEN
        })
        .await;
        world.mingle_mut().kill9();
        talkers = join_all(talking).await.into_iter().map(|ended| ended.unwrap().0).collect();
        tally.in_flight.store(0, Ordering::Relaxed);

        let (open, there) = unanswered(folder.path(), &talkers).await;
        eprintln!("kill {kill}: {open} sends without answer, {there} of them committed");
        assert!(open > 0, "nothing was in flight at kill {kill}");
        interrupted += open;
        committed += there;
        world = start().await;
    }
    retry(&world, &mut talkers).await;
    eprintln!("{interrupted} interrupted, {committed} of them committed before the kill");
    eprintln!("{} acknowledged", tally.acknowledged.load(Ordering::Relaxed));
    assert!(tally.retried.load(Ordering::Relaxed) > 0, "nothing was retried under load");

    let ledger = Ledger::open(folder.path()).await;
    ledger.assert_gapless().await;
    let rooms = ledger.rooms().await;
    for talker in &talkers {
        assert_all_there(talker, &rooms[&talker.room]);
        assert_history(&world, talker, &rooms[&talker.room]).await;
    }
    ledger.close().await;
}

/// How many sends had no answer, and how many of these are in the database.
async fn unanswered(folder: &Path, talkers: &[Talker]) -> (usize, usize) {
    let ledger = Ledger::open(folder).await;
    let rooms = ledger.rooms().await;
    ledger.close().await;
    let open = talkers.iter().filter_map(|talker| Some((talker, talker.unanswered.as_ref()?)));
    let open: Vec<_> = open.collect();
    let is_there = |(talker, key): &&(&Talker, &String)| {
        rooms[&talker.room].iter().any(|row| row.client_msg_id == **key)
    };
    (open.len(), open.iter().filter(is_there).count())
}

/// The last unanswered sends are answered after the last restart.
async fn retry(world: &World, talkers: &mut [Talker]) {
    for talker in talkers {
        let (mut client, room) = talker.connect(&world.url()).await;
        assert!(room.recovered, "{room:?}");
        let Some(key) = talker.unanswered.take() else { continue };
        let body = format!("{} says {key}", talker.user);
        let sent = client.send(&talker.room, &key, &body).await.unwrap();
        let again = client.send(&talker.room, &key, &body).await.unwrap();
        assert_eq!((&sent.message_id, sent.seq), (&again.message_id, again.seq));
        talker.read_up_to(&mut client, sent.seq).await;
        talker.said.push(Said { key, sent });
    }
}

/// Every acknowledged message is in the log once, where it was acknowledged;
/// nothing else of this user is; and what was seen is what the log says.
fn assert_all_there(talker: &Talker, log: &[Row]) {
    let own = |row: &&Row| row.is_message && row.actor == talker.user;
    let mut rows: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in log.iter().filter(own) {
        rows.entry(&row.client_msg_id).or_default().push(row);
    }
    for Said { key, sent } in &talker.said {
        let found = rows.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        assert_eq!(found.len(), 1, "{key} is there {} times", found.len());
        assert_eq!(found[0].position.seq, sent.seq, "{key}");
        assert_eq!(found[0].position.id, sent.message_id, "{key}");
        assert_eq!(found[0].body, format!("{} says {key}", talker.user));
    }
    assert_eq!(rows.len(), talker.said.len(), "{}: messages nobody said", talker.user);
    let prefix = log.iter().take(talker.seen.len()).map(|row| &row.position);
    assert!(prefix.eq(talker.seen.iter()), "{} saw another log", talker.user);
}

/// The same messages, over HTTP.
async fn assert_history(world: &World, talker: &Talker, log: &[Row]) {
    let history = world.history(&talker.user, &talker.room).await;
    let history = history.iter().map(|message| {
        (number(&message["seq"]), message["clientMsgId"].as_str().unwrap().to_owned())
    });
    let messages = log.iter().filter(|row| row.is_message);
    let rows = messages.map(|row| (row.position.seq, row.client_msg_id.clone()));
    assert!(history.eq(rows), "the history of {} is another", talker.room);
}
