//! Denials that are remembered: who is asked again, and when nobody is.

use std::sync::Arc;

use mingle_ratelimit::{
    domain::{Answer, Ask, Source, Verdict},
    store::{Failover, Store as _},
};
use mingle_store::clock::ManualClock;
use mingle_testkit::{Redis as Server, eventually};

use crate::world::{SOON, START, ask, config, connect, failover, refund};

/// Two instances on one server.
struct Stage {
    server: Server,
    instances: [Failover; 2],
    clock: Arc<ManualClock>,
}

impl Stage {
    async fn start() -> Self {
        let (server, clock) = (Server::start().await, Arc::new(ManualClock::at(START)));
        let open = async |id: &str| {
            let redis = connect(&server).await.with_clock(clock.clone());
            failover(redis, clock.clone(), id)
        };
        let instances = [open("one").await, open("two").await];
        let stage = Self { server, instances, clock };
        for instance in 0..2 {
            stage.until_remembered(instance, "warm").await;
        }
        stage
    }

    fn ask(&self, id: &str, cost: u64) -> Ask {
        Ask { is_new: true, ..ask(&config().limits(), "ann", id, cost, &["ten"]) }
    }

    async fn check(&self, instance: usize, ask: &Ask) -> Answer {
        self.instances[instance].check(std::slice::from_ref(ask)).await.remove(0).unwrap()
    }

    /// Waits until an instance hears the others, and so remembers what it was told.
    async fn until_remembered(&self, instance: usize, subject: &str) {
        let ask = Ask { subject: subject.to_owned(), ..self.ask("none", 10) };
        let all = Ask { charge_id: "all".to_owned(), is_new: false, ..ask.clone() };
        assert!(self.check(instance, &all).await.verdict.is_allowed());
        eventually(SOON, "it is remembered", async || self.is_remembered(instance, &ask).await)
            .await;
    }

    async fn is_remembered(&self, instance: usize, ask: &Ask) -> bool {
        self.check(instance, ask).await.source == Source::Denial
    }

    /// Scripts that were run.
    fn scripts(&self) -> u64 {
        let told = self.server.cli(&["INFO", "commandstats"]);
        let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_denied_is_denied_without_a_word_to_redis() {
    let stage = Stage::start().await;
    assert!(stage.check(0, &stage.ask("a", 9)).await.verdict.is_allowed());
    let first = stage.check(0, &stage.ask("b", 2)).await;
    assert_eq!((first.verdict, first.source), (Verdict::Denied, Source::Count));
    let before = stage.scripts();
    for n in 0..500 {
        let again = stage.check(0, &stage.ask(&format!("c{n}"), 2)).await;
        assert_eq!((again.verdict, again.source), (Verdict::Denied, Source::Denial));
        let (now, then) = (again.standings[0], first.standings[0]);
        assert!(now.retry_us > 0 && now.retry_us <= then.retry_us, "{now:?}");
        assert_eq!(now.remaining, 1);
    }
    // The heartbeats of both run two a second each.
    assert!(stage.scripts() - before < 100, "{} scripts", stage.scripts() - before);
    let deciders = [0, 1].map(|at| stage.instances[at].decider(&stage.ask("c", 2)));
    assert_eq!(deciders, [Source::Denial, Source::Count]);
    let less = stage.check(0, &stage.ask("d", 1)).await;
    assert!(less.verdict.is_allowed() && less.source == Source::Count, "a smaller cost fits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_charged_is_found_although_others_are_denied() {
    let stage = Stage::start().await;
    let paid = Ask { is_new: false, ..stage.ask("a", 10) };
    assert!(stage.check(1, &paid).await.verdict.is_allowed());
    for _ in 0..3 {
        stage.check(0, &stage.ask("b", 10)).await;
    }
    assert_eq!(stage.check(0, &paid).await.verdict, Verdict::Repeated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_or_a_reset_anywhere_ends_it_everywhere() {
    let stage = Stage::start().await;
    let ten = config().limits()["ten"].clone();
    for round in 0..20 {
        let id = format!("all {round}");
        assert!(stage.check(1, &stage.ask(&id, 10)).await.verdict.is_allowed());
        let denied = async |instance: usize| {
            stage.is_remembered(instance, &stage.ask(&format!("more {round}"), 1)).await
        };
        eventually(SOON, "both remember", async || denied(0).await && denied(1).await).await;
        match round % 2 {
            0 => assert!(refund(&stage.instances[1], "ann", &id, false).await.unwrap()),
            _ => stage.instances[1].reset("ann", std::slice::from_ref(&ten)).await.unwrap(),
        }
        stage.clock.advance(1);
        for instance in [1, 0] {
            let ask = stage.ask(&format!("new {round} {instance}"), 1);
            eventually(SOON, "it is admitted", async || {
                stage.check(instance, &ask).await.verdict.is_allowed()
            })
            .await;
        }
        stage.instances[0].reset("ann", std::slice::from_ref(&ten)).await.unwrap();
        stage.clock.advance(1);
        let id = format!("peace {round}");
        eventually(SOON, "it is reset there", async || {
            stage.check(1, &stage.ask(&id, 1)).await.verdict.is_allowed()
        })
        .await;
        stage.instances[1].reset("ann", std::slice::from_ref(&ten)).await.unwrap();
        stage.clock.advance(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_ends_no_denial_of_others() {
    let stage = Stage::start().await;
    assert!(stage.check(0, &stage.ask("all", 10)).await.verdict.is_allowed());
    let others: Vec<_> = (0..50).map(|n| format!("other {n}")).collect();
    for other in &others {
        stage.until_remembered(0, other).await;
    }
    let mine = stage.ask("more", 1);
    eventually(SOON, "mine, too", async || stage.is_remembered(0, &mine).await).await;
    assert!(refund(&stage.instances[1], "ann", "all", false).await.unwrap());
    eventually(SOON, "mine ends", async || stage.check(0, &mine).await.verdict.is_allowed()).await;
    let kept = others.iter().filter(|other| {
        let ask = Ask { subject: other.to_string(), ..stage.ask("more", 10) };
        stage.instances[0].decider(&ask) == Source::Denial
    });
    assert_eq!(kept.count(), others.len());
}

/// Who does not hear the others asks Redis, and believes nothing of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_remembered_over_a_time_of_silence() {
    let stage = Stage::start().await;
    let all = stage.ask("all", 10);
    assert!(stage.check(1, &all).await.verdict.is_allowed());
    let more = stage.ask("more", 1);
    eventually(SOON, "it is remembered", async || stage.is_remembered(0, &more).await).await;
    // Nobody hears what is given back meanwhile.
    for _ in 0..3 {
        let _ = stage.server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    assert!(refund(&stage.instances[1], "ann", "all", false).await.unwrap());
    eventually(SOON, "it is admitted", async || stage.check(0, &more).await.verdict.is_allowed())
        .await;
}

/// A denial ends by itself, not before its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_data_denies_nobody() {
    let stage = Stage::start().await;
    assert!(stage.check(0, &stage.ask("all", 10)).await.verdict.is_allowed());
    let more = stage.ask("more", 1);
    eventually(SOON, "it is remembered", async || stage.is_remembered(0, &more).await).await;
    assert_eq!(stage.server.cli(&["FLUSHALL"]), "OK");
    eventually(SOON, "it is admitted", async || stage.check(0, &more).await.verdict.is_allowed())
        .await;
}
