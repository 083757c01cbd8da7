//! Messages that were committed and never announced. A process that dies in
//! between is missed by its heartbeat, and what it may have said is read; one
//! that lives is found out by the heads.

use std::time::Duration;

use mingle_client::ws::{Client, proto::Position};
use mingle_testkit::eventually;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    pairs::{follow, hear},
    plan,
};
use crate::{ledger::Ledger, world::SOON};

/// Enough that some of them prefer either instance.
const ROOMS: usize = 12;
/// A process that was away is left alone for 5 s.
const EJECTED: Duration = Duration::from_secs(6);

struct Pair {
    room: String,
    /// The sender's socket, until it breaks.
    saying: JoinHandle<bool>,
    bob: Client,
}

/// Nobody dies, no bus is away, and no process ever announces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_announcement_tells_the_heads_tell() {
    let deployment = plan().env("FAILPOINTS", "chat-committed=return").start().await;
    let mut said = Vec::new();
    for pair in 0..ROOMS {
        let (room, mut ann, bob) = follow(&deployment, pair).await;
        let sent = ann.send(&room, "key", "said").await.unwrap();
        said.push((Position { seq: sent.seq, id: sent.message_id }, bob));
    }
    let begin = Instant::now();
    for (position, bob) in &mut said {
        hear(bob, position).await;
    }
    eprintln!("{ROOMS} were heard within {:?}", begin.elapsed());
}

/// With the sender's gateway: nobody is left who would try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_and_never_announced_is_delivered_all_the_same() {
    let mut deployment = plan().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    deployment.kill9("chat", 0);
    deployment.set_env("chat", 0, "FAILPOINTS", "chat-committed=pause");
    let mut pairs = Vec::new();
    for pair in 0..ROOMS {
        pairs.push(follow(&deployment, pair).await);
    }
    // Both gateways follow by way of the other one; this one only commits.
    deployment.start().await;
    let back = Instant::now();
    eventually(SOON, "who was away is asked again", async || back.elapsed() > EJECTED).await;
    let pairs: Vec<Pair> = pairs
        .into_iter()
        .map(|(room, mut ann, bob)| {
            let of = room.clone();
            let saying = tokio::spawn(async move { ann.send(&of, "key", "said").await.is_ok() });
            Pair { room, saying, bob }
        })
        .collect();
    let committed = eventually(SOON, "a commit that is not answered", async || {
        let committed = ledger.count("select count(*) from chat_log where kind = 1").await;
        let answered = pairs.iter().filter(|pair| pair.saying.is_finished()).count() as i64;
        (committed > answered && answered > 0).then_some(committed - answered)
    })
    .await;
    deployment.kill9("gateway", 0);
    deployment.kill9("chat", 0);
    let killed = Instant::now();
    eprintln!("{committed} messages were committed and not announced");

    let logs = ledger.rooms().await;
    let mut heard = 0;
    for mut pair in pairs {
        let log = &logs[&pair.room];
        let Some(row) = log.iter().find(|row| row.is_message) else { continue };
        hear(&mut pair.bob, &row.position).await;
        heard += 1;
    }
    eprintln!("all {heard} were heard {:?} after the kill", killed.elapsed());
    assert!(heard >= committed, "{heard} heard");
    ledger.assert_gapless().await;
}
