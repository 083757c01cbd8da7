//! Everybody's sockets cut in one moment, by the death of their gateway: all
//! come back, at the pace that it is willing to take.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use futures::{StreamExt as _, future::join_all, stream};
use mingle_client::ws::{
    Backoff, Client, Encoding, Error,
    proto::{Position, Resume, RoomPosition},
};
use mingle_testkit::{Deployment, eventually};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use super::{plan, urls};
use crate::{
    http,
    ledger::Ledger,
    world::{SOON, greet, logged, next_event, token},
};

/// One in so many has a room, with somebody else who has.
const WITH_ROOM: usize = 20;
/// Of a room's log: both came, one said something.
const EVENTS: usize = 3;
const HELLOS: usize = 64;
/// Sockets that connect at the same time at first.
const CONNECTING: usize = 64;
/// What one resume of one room costs: the room, its members, what was missed.
const TRANSACTIONS_EACH: i64 = 8;
/// What the processes do by themselves in a second, and beside that at start.
const TRANSACTIONS_IDLE: i64 = 60;

/// As many as the files of two processes allow, or a few.
fn sockets() -> usize {
    if std::env::var_os("MINGLE_SOAK").is_some() { 12_000 } else { 2_000 }
}

/// Slow enough that the pace is what holds them up.
fn per_second() -> usize {
    if sockets() > 2_000 { 500 } else { 250 }
}

#[derive(Default)]
struct Tally {
    cut: AtomicUsize,
    back: AtomicUsize,
    refused: AtomicUsize,
    caught_up: AtomicUsize,
}

/// One user and where they are.
struct Guest {
    user: String,
    room: Option<String>,
    url: String,
    tally: Arc<Tally>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_at_once_comes_back_at_the_pace_of_the_gateway() {
    let mut deployment = plan()
        .count("gateway", 1)
        .count("matchmaking", 1)
        .env("MINGLE_GATEWAY__LIMITS__ACCEPTS_PER_SECOND", per_second().to_string())
        .env("MINGLE_GATEWAY__LIMITS__HELLOS_AT_ONCE", HELLOS.to_string())
        .start()
        .await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let tally = Arc::new(Tally::default());
    let guests = invite(&deployment, &tally).await;
    let holders = guests.iter().filter(|guest| guest.room.is_some()).count();
    let (end, over) = watch::channel(false);
    let lives = welcome(guests, &over).await;

    let transactions = ledger.transactions().await;
    deployment.kill9("gateway", 0);
    let all_cut = async || tally.cut.load(Relaxed) == sockets();
    eventually(SOON, "everybody is cut", all_cut).await;
    let begin = Instant::now();
    deployment.start().await;
    let probes = deployment.process("gateway", 0).probes_addr();
    let seen = watch_return(probes, begin, &tally).await;
    let took = begin.elapsed();
    let transactions = ledger.transactions().await - transactions;
    end.send_replace(true);
    join_all(lives).await.into_iter().for_each(Result::unwrap);

    let refused = tally.refused.load(Relaxed);
    eprintln!(
        "{} sockets back after {took:.1?}, {holders} with a room; {refused} hellos refused; \
         {seen:?}; {transactions} transactions; {} KiB resident",
        sockets(),
        deployment.process("gateway", 0).rss_kib()
    );
    assert!(holders > 0 && tally.caught_up.load(Relaxed) == EVENTS * holders);
    assert!(seen.delayed > 0, "the pace held nobody up");
    assert!((1..=HELLOS).contains(&seen.most_hellos), "{} hellos at once", seen.most_hellos);
    let bound =
        TRANSACTIONS_EACH * holders as i64 + TRANSACTIONS_IDLE * (took.as_secs() as i64 + 2);
    assert!(transactions < bound, "{transactions} transactions, {bound} allowed");
}

/// The users, some of whom have a room in which something was said.
async fn invite(deployment: &Deployment, tally: &Arc<Tally>) -> Vec<Guest> {
    let gateway = deployment.gateways()[0];
    let url = urls(deployment).remove(0);
    let mut guests: Vec<_> = (0..sockets())
        .map(|number| {
            let (user, url, tally) = (format!("guest-{number}"), url.clone(), tally.clone());
            Guest { user, room: None, url, tally }
        })
        .collect();
    for pair in guests.chunks_mut(2 * WITH_ROOM) {
        let body = json!({"kind": "DIRECT", "memberIds": [pair[0].user, pair[1].user]});
        let token = token(&pair[0].user);
        let room = http::post(gateway, "/api/rooms", &token, &body).await.ok();
        let room = room["roomId"].as_str().unwrap();
        let path = format!("/api/rooms/{room}/messages");
        let body = json!({"clientMsgId": "first", "body": "are you there?"});
        http::post(gateway, &path, &token, &body).await.ok();
        pair[..2].iter_mut().for_each(|guest| guest.room = Some(room.to_owned()));
    }
    guests
}

/// Connects everybody; they live until it is over.
async fn welcome(guests: Vec<Guest>, over: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let connect = |guest: Guest| async move {
        let client = greet(&guest.url, &guest.user, Encoding::Proto, None).await.unwrap();
        (guest, client)
    };
    let connected = stream::iter(guests).map(connect);
    let live = |(guest, client): (Guest, _)| tokio::spawn(guest.live(client, over.clone()));
    connected.buffer_unordered(CONNECTING).map(live).collect().await
}

/// What the gateway counted while they came back.
#[derive(Debug, Default)]
struct Seen {
    accepted: u64,
    delayed: u64,
    most_hellos: usize,
}

/// Waits until all are back; at no moment were more accepted than the pace
/// allows since before the gateway started.
async fn watch_return(probes: SocketAddr, begin: Instant, tally: &Tally) -> Seen {
    let mut seen = Seen::default();
    eventually(SOON * 3, "everybody is back", async || {
        let metrics = http::get(probes, "/metrics", "").await.text;
        let elapsed = begin.elapsed().as_secs_f64();
        seen.accepted = value(&metrics, "mingle_gateway_accepts_total") as u64;
        seen.delayed = value(&metrics, "mingle_gateway_accepts_delayed_total") as u64;
        let hellos = value(&metrics, "mingle_gateway_hellos{state=\"working\"}") as usize;
        seen.most_hellos = seen.most_hellos.max(hellos);
        // A tenth of a second's worth may come at once.
        let most = per_second() as f64 * (elapsed + 0.1) + 1.0;
        assert!(seen.accepted as f64 <= most, "{} accepted in {elapsed} s", seen.accepted);
        tally.back.load(Relaxed) == sockets()
    })
    .await;
    seen
}

/// The value of a series; 0 before it is first counted.
fn value(metrics: &str, series: &str) -> f64 {
    let of_series = |line: &str| line.strip_prefix(series)?.trim().parse().ok();
    metrics.lines().find_map(of_series).unwrap_or_default()
}

impl Guest {
    /// Waits to be cut, comes back, and stays until it is over.
    async fn live(self, mut client: Client, mut over: watch::Receiver<bool>) {
        let welcome = client.welcome().unwrap().clone();
        let end = loop {
            if let Err(error) = client.event().await {
                break error;
            }
        };
        // Its file is needed.
        drop(client);
        self.tally.cut.fetch_add(1, Relaxed);
        let after = Some(Position::default());
        let room = self.room.clone().map(|room_id| RoomPosition { room_id, after });
        let rooms = room.into_iter().collect();
        let resume = Resume { token: welcome.resume_token, rooms };
        let mut client = self.come_back(end, &resume).await;
        let again = client.welcome().unwrap();
        assert!(again.resumed && again.session_id == welcome.session_id, "{again:?}");
        self.catch_up(&mut client).await;
        self.tally.back.fetch_add(1, Relaxed);
        tokio::select! {
            end = client.event_where(|_| None::<()>) => panic!("{}: {end:?}", self.user),
            _ = over.wait_for(|over| *over) => {}
        }
    }

    async fn come_back(&self, mut end: Error, resume: &Resume) -> Client {
        let mut backoff = Backoff::default();
        loop {
            let wait = backoff.after(&end).unwrap_or_else(|| panic!("{}: {end}", self.user));
            let _ = tokio::time::timeout(wait, std::future::pending::<()>()).await;
            match greet(&self.url, &self.user, Encoding::Proto, Some(resume.clone())).await {
                Ok(client) => return client,
                Err(error) => end = error,
            }
            let refused = usize::from(end.reason() == "OVERLOADED");
            self.tally.refused.fetch_add(refused, Relaxed);
        }
    }

    /// Hears what the room's log has, or asks for it.
    async fn catch_up(&self, client: &mut Client) {
        let Some(room) = &self.room else { return };
        let answers = &client.welcome().unwrap().rooms;
        if !answers.iter().all(|room| room.recovered) {
            // There was no time for it within the hello.
            client.room_join(room, Some(Position::default())).await.unwrap();
        }
        let mut at = 0;
        while at < EVENTS as u64 {
            let event = next_event(client).await.unwrap();
            // Who is served in a storm may be told that something is degraded.
            let Some((_, position)) = logged(&event) else { continue };
            assert_eq!(position.seq, at + 1, "{event:?}");
            at = position.seq;
            self.tally.caught_up.fetch_add(1, Relaxed);
        }
    }
}
