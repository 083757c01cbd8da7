//! What fails while something is taken ahead of time.

use std::time::Duration;

use mingle_ratelimit::{
    domain::Source,
    store::{Store as _, redis::RedisStore},
};
use mingle_store::redis::{Options, Redis};
use mingle_testkit::{Fault, Proxy, Redis as Server, eventually};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Stage;
use crate::world::{SOON, connect, connected};

/// These tests wait for it to pass, and no call but theirs should.
const TIMEOUT: Duration = Duration::from_secs(2);
const REMEMBER_US: u64 = 900_000_000;

/// One instance, the way between it and its server, and another way there.
async fn apart() -> (Stage, Proxy, RedisStore) {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address()).await;
    let options = Options { timeout: TIMEOUT, ..Options::new(server.url_by(proxy.address())) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    let direct = RedisStore::new(connect(&server).await, REMEMBER_US);
    (Stage::over(server, vec![redis]), proxy, direct)
}

/// Something is taken, given back so that the server knows how, and taken again; answers how
/// many were admitted. `before` were left.
async fn after_one(stage: &Stage, direct: &RedisStore, before: u64) -> u64 {
    let ask = stage.ask(&["plenty"]);
    let admitted = stage.until_sliced(&ask).await;
    eventually(SOON, "it is given back", async || {
        left(direct, stage, "plenty").await == before - admitted
    })
    .await;
    admitted + stage.until_sliced(&ask).await
}

async fn left(direct: &RedisStore, stage: &Stage, limit: &str) -> u64 {
    direct.peek(&stage.ask(&[limit])).await.unwrap().standings[0].remaining
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_unheard_is_given_back_once() {
    let (stage, proxy, direct) = apart().await;
    let before = left(&direct, &stage, "plenty").await;
    let back = async |admitted| left(&direct, &stage, "plenty").await == before - admitted;
    let mut admitted = 0;
    // Whatever was given back before the fault is taken anew.
    loop {
        admitted += after_one(&stage, &direct, before - admitted).await;
        proxy.set(Fault::NoAnswers);
        if !back(admitted).await {
            break;
        }
        proxy.set(Fault::None);
    }
    eventually(SOON, "it is given back", async || back(admitted).await).await;
    // Whoever gave it back hears nothing of it, and then ends.
    stage.stop.cancel();
    stage.tasks.close();
    timeout(SOON, stage.tasks.wait()).await.unwrap();
    assert_eq!(left(&direct, &stage, "plenty").await, before - admitted, "and not twice");
}

/// Redis runs it in time or not at all, and it is not tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_too_late_is_kept() {
    let (stage, proxy, direct) = apart().await;
    let before = left(&direct, &stage, "plenty").await;
    let mut admitted = 0;
    let kept = loop {
        admitted += after_one(&stage, &direct, before - admitted).await;
        proxy.set(Fault::NoRequests);
        let kept = left(&direct, &stage, "plenty").await;
        if kept < before - admitted {
            break kept;
        }
        proxy.set(Fault::None);
    };
    let unknown = stage.errors("NOSCRIPT");
    stage.stop.cancel();
    stage.tasks.close();
    timeout(SOON, stage.tasks.wait()).await.unwrap();
    proxy.set(Fault::None);
    // That, and the last heartbeat.
    eventually(SOON, "both are late", async || stage.errors("LATE") >= 2).await;
    assert_eq!(stage.errors("NOSCRIPT"), unknown);
    assert_eq!(left(&direct, &stage, "plenty").await, kept);
}

/// What was used ahead of the outage is in what is counted alone: one instance admits its
/// quota once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_used_is_counted_on_when_redis_goes_away() {
    let stage = Stage::start(1).await;
    let ask = stage.ask(&["hundreds"]);
    let mut admitted = stage.until_sliced(&ask).await;
    let (mut ahead, mut alone) = (0, 0);
    while stage.instances[0].decider(&ask) == Source::Slice && ahead < 10 {
        ahead += u64::from(stage.check(&ask).await == Source::Slice);
        admitted += 1;
    }
    stage.server.kill();
    loop {
        let answer = stage.instances[0].check(std::slice::from_ref(&ask)).await.remove(0).unwrap();
        alone += u64::from(answer.alone_of().is_some());
        if !answer.verdict.is_allowed() {
            break;
        }
        admitted += 1;
    }
    assert!(ahead > 0 && alone > 0, "{ahead} ahead, {alone} alone");
    assert_eq!(admitted, ask.limits[0].quota);
}

/// Whoever takes is told of what is left for this process, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_process_has_is_left() {
    let (stage, _proxy, direct) = apart().await;
    let (ask, before) = (stage.ask(&["plenty"]), left(&direct, &stage, "plenty").await);
    for admitted in 1.. {
        let answer = stage.instances[0].check(std::slice::from_ref(&ask)).await.remove(0).unwrap();
        assert_eq!(answer.standings[0].remaining, before - admitted);
        if left(&direct, &stage, "plenty").await < before - admitted {
            break;
        }
    }
}
