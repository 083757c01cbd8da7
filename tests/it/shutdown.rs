//! SIGTERM under load: everybody is told, nothing is lost, and sessions go on.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt as _, future::join_all};
use mingle_client::ws::{Encoding, Error, Incoming, close::Close, proto::server_frame::Kind};
use mingle_testkit::eventually;

use crate::{
    ledger::Ledger,
    slow::{Slow, doze},
    talkers::{self, Talker, Tally},
    world::{SOON, World, next_event},
};

const PAIRS: usize = 40;
/// The process's own, as configured by default.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_tells_everybody_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tally = Arc::new(Tally::default());
    let builder = || World::builder().data_dir(folder.path());
    let mut world = World::from(builder()).await;
    let url = world.url();
    let mut connected = Vec::new();
    for mut talker in talkers::pairs(&world, PAIRS).await {
        let (client, _) = talker.connect(&url).await;
        connected.push((talker, client));
    }
    let talk = |(talker, client): (Talker, _)| tokio::spawn(talker.talk(client, tally.clone()));
    let talking: Vec<_> = connected.into_iter().map(talk).collect();
    let mut silent = world.socket(Encoding::Json).await;
    eventually(SOON, "the talkers have talked", async || {
        tally.acknowledged.load(Ordering::Relaxed) >= 1000
    })
    .await;

    let in_flight = tally.in_flight.load(Ordering::Relaxed);
    let status = world.mingle_mut().sigterm(GRACE + Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0), "an orderly end");
    assert!(!world.mingle().log().contains("grace period is over"), "the drain took too long");
    assert!(in_flight > 0, "nothing was in flight");

    let mut talkers = Vec::new();
    for ended in join_all(talking).await {
        let (talker, ended) = ended.unwrap();
        assert_eq!(ended.code, Close::Draining.code(), "{}: {ended:?}", talker.user);
        assert!(ended.retry_after_ms.is_some_and(|ms| ms > 0), "{}: {ended:?}", talker.user);
        talkers.push(talker);
    }
    // Who has not said hello is told as well.
    let Ok(Incoming::Frame(told)) = silent.next().await else { panic!("no draining") };
    assert!(matches!(told.kind, Some(Kind::Draining(draining)) if draining.retry_after_ms > 0));
    let Ok(Incoming::Closed(code, _)) = silent.next().await else { panic!("no close") };
    assert_eq!(code, Close::Draining.code());

    assert_nothing_lost(folder.path(), &talkers).await;
    resume_all(&World::from(builder()).await, talkers).await;
}

/// Sockets that read nothing while the process goes away.
const STALLED: usize = 5;
/// Of 8 KiB each: more than the kernel holds for a socket, less than may wait.
const UNREAD: usize = 800;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_does_not_hold_a_process_that_goes_away() {
    let grace = GRACE / 2;
    let builder = World::builder()
        .env("MINGLE_PROCESS__GRACE_MS", grace.as_millis().to_string())
        .env("MINGLE_GATEWAY__LIMITS__OUTBOUND_BYTES", (16 << 20).to_string());
    let mut world = World::from(builder).await;
    let stalled: Vec<_> = (0..STALLED).map(|number| format!("stalled-{number}")).collect();
    let members: Vec<_> = ["ann"].into_iter().chain(stalled.iter().map(String::as_str)).collect();
    let room = world.room(&members).await;
    let mut dozing = Vec::new();
    for user in &stalled {
        dozing.push(doze(&world, user, &room).await);
    }
    let mut ann = world.client("ann", Encoding::Proto).await;
    ann.room_join(&room, None).await.unwrap();
    for number in 0..UNREAD {
        ann.send(&room, &number.to_string(), &"x".repeat(8 * 1024)).await.unwrap();
    }

    let status = world.mingle_mut().sigterm(grace + SOON).await;
    assert_eq!(status.code(), Some(0), "an orderly end");
    assert!(!world.mingle().log().contains("grace period is over"), "the drain took too long");
    let told = ann.event_where(|event| matches!(event, Kind::Draining(_)).then_some(())).await;
    told.unwrap();
    for socket in dozing {
        let read = read_on(socket).await;
        assert!(0 < read && read < UNREAD, "{read} of {UNREAD} frames were read after all");
    }
}

/// Frames that a socket still had to read; its close was not among them.
async fn read_on(mut socket: Slow) -> usize {
    let mut frames = 0;
    while let Some(Ok(message)) = socket.next().await {
        assert!(!message.is_close(), "it took its close");
        frames += 1;
    }
    frames
}

async fn assert_nothing_lost(folder: &std::path::Path, talkers: &[Talker]) {
    let ledger = Ledger::open(folder).await;
    ledger.assert_gapless().await;
    let rooms = ledger.rooms().await;
    ledger.close().await;
    for talker in talkers {
        let log = &rooms[&talker.room];
        for said in &talker.said {
            let row = &log[said.sent.seq as usize - 1];
            assert_eq!(row.position.id, said.sent.message_id, "{}", said.key);
            assert_eq!(row.client_msg_id, said.key);
        }
        let times = |key: &str| log.iter().filter(|row| row.client_msg_id == key).count();
        assert!(talker.said.iter().all(|said| times(&said.key) == 1), "{}", talker.user);
    }
}

/// The next process takes every session up where it was, and hands over what
/// was missed.
async fn resume_all(world: &World, talkers: Vec<Talker>) {
    let url = world.url();
    let mut clients = Vec::new();
    let mut missed = 0;
    for mut talker in talkers {
        let (mut client, room) = talker.connect(&url).await;
        assert!(room.recovered, "{}: {room:?}", talker.user);
        missed += room.head_seq - talker.at.seq;
        talker.read_up_to(&mut client, room.head_seq).await;
        clients.push((talker, client));
    }
    eprintln!("{missed} events were missed and came with the resumes");
    for (talker, client) in &mut clients {
        let sent = client.send(&talker.room, "after", "still here").await.unwrap();
        talker.read_up_to(client, sent.seq).await;
    }
    // A session that is held elsewhere by now is not taken twice.
    let (mut talker, mut older) = clients.remove(0);
    let (_newer, _) = talker.connect(&url).await;
    loop {
        match next_event(&mut older).await {
            Ok(_) => {}
            Err(Error::Closed { code, .. }) => {
                assert_eq!(code, Close::Superseded.code());
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
