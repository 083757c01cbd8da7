//! What is counted on which side, and what is known on the other.

use std::{sync::Arc, time::Duration};

use mingle_ratelimit::{
    domain::{Answer, Verdict},
    store::{Failover, Store as _},
};
use mingle_store::{clock::ManualClock, redis::Redis};
use mingle_testkit::{Redis as Server, eventually};
use tokio::time::timeout;

use crate::world::{SOON, START, ask, bus, config, connect, failover, refund};

/// Instances over one server, each with a connection of its own.
pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) instances: Vec<Failover>,
}

impl Stage {
    pub(super) async fn of(instances: usize) -> Self {
        let server = Server::start().await;
        let mut all = Vec::new();
        for at in 0..instances {
            all.push(instance(connect(&server).await, &at.to_string()));
        }
        Self { server, instances: all }
    }

    pub(super) async fn take(&self, at: usize, id: &str, limit: &str) -> Answer {
        self.take_of(at, id, &[limit]).await
    }

    pub(super) async fn take_of(&self, at: usize, id: &str, limits: &[&str]) -> Answer {
        let ask = ask(&config().limits(), "ann", id, 1, limits);
        self.instances[at].check(&[ask]).await.remove(0).unwrap()
    }

    pub(super) async fn left(&self, at: usize, limit: &str) -> u64 {
        let ask = ask(&config().limits(), "ann", "", 1, &[limit]);
        self.instances[at].peek(&ask).await.unwrap().standings[0].remaining
    }

    /// When each instance was last heard, by the server itself.
    pub(super) fn heard(&self) -> Vec<String> {
        let said = self.server.cli(&["ZRANGE", "mingle:{rl-instances}:1", "0", "-1", "WITHSCORES"]);
        let words: Vec<_> = said.split_whitespace().map(str::to_owned).collect();
        let mut heard: Vec<_> = words.chunks(2).map(|pair| pair.join(" ")).collect();
        heard.sort();
        heard
    }

    /// Every instance has counted the others.
    pub(super) async fn acquainted(&self) {
        let all = async || (self.heard().len() == self.instances.len()).then(|| self.heard());
        let first = eventually(SOON, "every instance is there", all).await;
        eventually(SOON, "each has counted since", async || {
            let heard = self.heard();
            heard.len() == first.len() && heard.iter().all(|beat| !first.contains(beat))
        })
        .await;
    }

    /// What the server holds of a limit is something else from now on.
    pub(super) fn spoil(&self, limit: &str) {
        let key = self.server.cli(&["KEYS", &format!("*:1:l:{limit}")]);
        assert_eq!(self.server.cli(&["DEL", key.trim()]), "1");
        assert_eq!(self.server.cli(&["LPUSH", key.trim(), "no state"]), "1");
    }

    pub(super) async fn flipped(&self, open: bool) {
        for instance in &self.instances {
            let mut changes = instance.breaker().changes();
            let flipped = changes.wait_for(|is_open| *is_open == open);
            timeout(SOON, flipped).await.expect("a flip").unwrap();
        }
    }
}

fn instance(redis: Redis, id: &str) -> Failover {
    failover(redis, Arc::new(ManualClock::at(START)), id)
}

#[tokio::test]
async fn instances_share_what_each_counts_alone_and_count_together_again() {
    let stage = Stage::of(3).await;
    stage.acquainted().await;
    stage.server.kill();
    stage.flipped(true).await;
    let mut admitted = 0;
    for at in 0..3 {
        for n in 0..5 {
            let answer = stage.take(at, &format!("{at} {n}"), "ten").await;
            assert_eq!(answer.alone_of(), Some(3));
            admitted += u32::from(answer.verdict.is_allowed());
        }
    }
    assert_eq!(admitted, 3 * 3, "three of ten each");
    let one = stage.take(0, "one", "watched").await;
    assert!(one.verdict.is_allowed(), "at least one");

    stage.server.restart_empty().await;
    stage.flipped(false).await;
    let mut admitted = 0;
    for n in 0..30 {
        let answer = stage.take(n % 3, &format!("again {n}"), "ten").await;
        assert_eq!(answer.alone_of(), None);
        admitted += u32::from(answer.verdict.is_allowed());
    }
    assert_eq!(admitted, 10, "exactly, and nobody was started again");
}

#[tokio::test]
async fn who_leaves_is_counted_no_more() {
    let stage = Stage::of(1).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    let bounds = config().bounds();
    let redis = connect(&stage.server).await;
    let bus = bus(&redis);
    let together = mingle_ratelimit::store::redis::RedisStore::new(redis, 1_000);
    let clock = Arc::new(ManualClock::at(START));
    let leaver = mingle_ratelimit::store::Instance { id: "leaver".into(), clock, bus, bounds };
    let leaver = Failover::start(together, leaver, &tasks, stop.clone());
    eventually(SOON, "both are there", async || stage.heard().len() == 2).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    assert_eq!(stage.heard().len(), 1);
    drop(leaver);
}

#[tokio::test]
async fn an_outage_is_no_fresh_quota_and_refunds_reach_the_other_side() {
    let stage = Stage::of(1).await;
    stage.acquainted().await;
    for id in ["a", "b", "c", "d"] {
        assert_eq!(stage.take(0, id, "ten").await.alone_of(), None);
    }
    stage.server.kill();
    stage.flipped(true).await;
    let again = stage.take(0, "a", "ten").await;
    assert_eq!((again.verdict, again.alone_of()), (Verdict::Repeated, Some(1)), "charged once");
    assert_eq!(again.standings[0].remaining, 6, "what was admitted before counts on");
    let [instance] = &stage.instances[..] else { panic!() };
    assert!(refund(instance, "ann", "b", false).await.unwrap());
    assert!(!refund(instance, "ann", "b", false).await.unwrap(), "once");
    assert!(!refund(instance, "ann", "a", true).await.unwrap(), "somebody relies on it");
    let mut admitted = 0;
    for n in 0..20 {
        let answer = stage.take(0, &format!("alone {n}"), "ten").await;
        admitted += u32::from(answer.verdict.is_allowed());
    }
    assert_eq!(admitted, 7);

    // With what was appended before it died.
    stage.server.restart().await;
    stage.flipped(false).await;
    assert_eq!(stage.left(0, "ten").await, 7, "four were charged, one came back");
    assert!(refund(instance, "ann", "alone 0", false).await.unwrap(), "it was charged here");
    assert_eq!(stage.left(0, "ten").await, 7, "which the server never knew");
}

/// A frozen server answers nobody: whoever still asked it would wait ten
/// seconds.
#[tokio::test]
async fn a_frozen_server_is_not_asked_again_and_again() {
    let stage = Stage::of(1).await;
    stage.acquainted().await;
    stage.server.freeze();
    stage.flipped(true).await;
    let asked = async {
        for n in 0..500 {
            assert_eq!(stage.take(0, &format!("frozen {n}"), "thousand").await.alone_of(), Some(1));
        }
    };
    timeout(Duration::from_secs(9), asked).await.expect("none of them waited for the server");
    stage.server.thaw();
    stage.flipped(false).await;
    assert_eq!(stage.left(0, "thousand").await, 1_000, "nothing of it was run late");
}

/// A server that answers and refuses is as good as none, for as long as it does.
#[tokio::test]
async fn a_refusal_that_lasts_is_an_outage_that_lasts() {
    let stage = Stage::of(1).await;
    stage.acquainted().await;
    assert_eq!(stage.server.cli(&["ACL", "SETUSER", "mingle", "-evalsha", "-eval"]), "OK");
    stage.flipped(true).await;
    let mut changes = stage.instances[0].breaker().changes();
    changes.borrow_and_update();
    for n in 0..50 {
        assert_eq!(stage.take(0, &n.to_string(), "ten").await.alone_of(), Some(1));
    }
    let flip = timeout(Duration::from_secs(4), changes.changed()).await;
    assert!(flip.is_err(), "several probes were refused as well");
    assert_eq!(stage.server.cli(&["ACL", "SETUSER", "mingle", "+evalsha", "+eval"]), "OK");
    stage.flipped(false).await;
    assert_eq!(stage.take(0, "well", "ten").await.alone_of(), None);
}

/// What is broken for one subject is decided for that one.
#[tokio::test]
async fn a_key_that_cannot_be_read_is_one_subjects_outage() {
    let stage = Stage::of(1).await;
    stage.take(0, "a", "ten").await;
    stage.spoil("ten");
    let answer = stage.take(0, "b", "ten").await;
    assert_eq!((answer.alone_of(), answer.standings[0].remaining), (Some(1), 8));
    assert_eq!(stage.take(0, "c", "three").await.alone_of(), None);
    assert!(!stage.instances[0].breaker().is_open());
}
