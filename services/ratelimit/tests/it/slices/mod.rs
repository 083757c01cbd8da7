//! What is taken ahead of time: what it saves, what it never costs, and what becomes of
//! the rest.

mod faults;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{join_all, pending},
};
use mingle_ratelimit::{
    Config,
    domain::{Algorithm, Ask, Limit, Place, Source},
    store::{Failover, Instance, Store as _, redis::RedisStore},
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::{
    clock::{Clock, SystemClock},
    redis::Redis,
};
use mingle_testkit::{Redis as Server, eventually};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::world::{SOON, bus, connect};

const LIMITS: &str = r#"
[ratelimit.limits.exact]
algorithm = "sliding_window"
quota = 250
window = "700ms"

[ratelimit.limits.coarse]
algorithm = "sliding_window"
quota = 1500
window = "900ms"

[ratelimit.limits.paced]
algorithm = "gcra"
quota = 1200
window = "1s"
burst = 900

[ratelimit.limits.bucket]
algorithm = "token_bucket"
quota = 1000
window = "800ms"

[ratelimit.limits.fixed]
algorithm = "fixed_window"
quota = 1000
window = "900ms"

[ratelimit.limits.plenty]
algorithm = "sliding_window"
quota = 1000000
window = "1h"

[ratelimit.limits.hundreds]
algorithm = "sliding_window"
quota = 400
window = "1h"

[ratelimit.limits.more]
algorithm = "gcra"
quota = 2000000
window = "1h"
burst = 1000000
"#;

/// Of each limit: several windows.
const SPEND: Duration = Duration::from_secs(2);
const CALLERS: usize = 8;
const EDGE_US: u64 = 2_000;
/// Longer than anything that is taken ahead may be used.
const FROZEN: Duration = Duration::from_millis(300);

/// Instances on one server.
struct Stage {
    server: Server,
    instances: Vec<Arc<Failover>>,
    config: Config,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// When one was asked for, and when it was admitted.
type Admitted = (Instant, Instant);

impl Stage {
    async fn start(instances: usize) -> Self {
        let server = Server::start().await;
        let ways = join_all((0..instances).map(|_| connect(&server))).await;
        Self::over(server, ways)
    }

    /// An instance for each of these ways to the server.
    fn over(server: Server, ways: Vec<Redis>) -> Self {
        let config: Config = Context::for_test(&[Config::DEFAULTS], LIMITS).config.read().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut all = Vec::new();
        for (at, redis) in ways.into_iter().enumerate() {
            let (bus, bounds) = (bus(&redis), config.bounds());
            let instance = Instance { id: at.to_string(), clock: clock.clone(), bus, bounds };
            let together = RedisStore::new(redis, bounds.remember_us);
            all.push(Arc::new(Failover::start(together, instance, &tasks, stop.clone())));
        }
        Self { server, instances: all, config, tasks, stop }
    }

    fn limit(&self, name: &str) -> Arc<Limit> {
        self.config.limits()[name].clone()
    }

    fn ask(&self, limits: &[&str]) -> Ask {
        Ask {
            subject: "ann".to_owned(),
            charge_id: String::new(),
            is_new: true,
            cost: 1,
            limits: limits.iter().map(|name| self.limit(name)).collect(),
        }
    }

    /// Many ask at each instance, for a while; between some of it each waits for up to
    /// `pause`.
    async fn spend(&self, ask: &Ask, pause: Duration) -> (Vec<Admitted>, usize) {
        let (end, sliced) = (Instant::now() + SPEND, Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        for instance in &self.instances {
            for _ in 0..CALLERS {
                let (instance, ask, sliced) = (instance.clone(), ask.clone(), sliced.clone());
                let mut dice = StdRng::seed_from_u64(callers.len() as u64);
                callers.spawn(async move {
                    let mut admitted = Vec::new();
                    while Instant::now() < end {
                        if !pause.is_zero() && dice.random_bool(0.05) {
                            let pause = pause.mul_f64(dice.random_range(0.0..1.0));
                            let _ = timeout(pause, pending::<()>()).await;
                        }
                        let asked = Instant::now();
                        let answer = instance.check(std::slice::from_ref(&ask)).await.remove(0);
                        let answer = answer.unwrap();
                        assert!(answer.alone_of().is_none(), "it was counted together");
                        if answer.verdict.is_allowed() {
                            admitted.push((asked, Instant::now()));
                            let is_sliced = answer.source == Source::Slice;
                            sliced.fetch_add(is_sliced.into(), Ordering::Relaxed);
                        }
                        tokio::task::yield_now().await;
                    }
                    admitted
                });
            }
        }
        let admitted = callers.join_all().await.into_iter().flatten().collect();
        (admitted, sliced.load(Ordering::Relaxed))
    }

    /// Asks until something was taken ahead of time, and more of it is there; answers how
    /// many were admitted.
    async fn until_sliced(&self, ask: &Ask) -> u64 {
        let mut admitted = 0;
        loop {
            let asks = vec![ask.clone(); 16];
            let answers = join_all(asks.chunks(1).map(|ask| self.instances[0].check(ask))).await;
            admitted += answers.len() as u64;
            let together = answers.iter().flatten().flatten();
            let together = together.filter(|it| it.verdict.is_allowed() && it.alone_of().is_none());
            assert_eq!(together.count(), asks.len(), "{answers:?}");
            if self.instances[0].decider(ask) == Source::Slice {
                return admitted;
            }
        }
    }

    /// What decided about it; it is admitted.
    async fn check(&self, ask: &Ask) -> Source {
        let answer = self.instances[0].check(std::slice::from_ref(ask)).await.remove(0).unwrap();
        assert!(answer.verdict.is_allowed());
        answer.source
    }

    /// Commands for a subject that were run.
    fn scripts(&self) -> u64 {
        let told = self.server.cli(&["INFO", "commandstats"]);
        let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Refusals of this kind that the server has counted.
    fn errors(&self, kind: &str) -> u64 {
        let told = self.server.cli(&["INFO", "errorstats"]);
        let begin = format!("errorstat_{kind}:count=");
        let count = told.lines().find_map(|line| line.strip_prefix(&begin));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }

    async fn left(&self, limit: &str) -> u64 {
        let peek = self.instances[0].peek(&self.ask(&[limit])).await.unwrap();
        peek.standings[0].remaining
    }
}

/// The most that were asked for and admitted within any time of this length: so many were
/// admitted in it for certain.
fn most_within(admitted: &[Admitted], window: Duration) -> usize {
    let mut by_end: Vec<_> = admitted.to_vec();
    by_end.sort_by_key(|(_, admitted)| *admitted);
    let begins = by_end.iter().step_by(7).map(|(asked, _)| *asked);
    let within = |from: Instant| {
        let till = by_end.partition_point(|(_, admitted)| *admitted < from + window);
        by_end[..till].iter().filter(|(asked, _)| *asked >= from).count()
    };
    begins.map(within).max().unwrap_or(0)
}

/// The most that were asked for and admitted between two multiples of a length.
fn most_between_multiples(admitted: &[Admitted], window_us: u64) -> usize {
    let (unix_us, now) = (SystemClock.now_ms() as u64 * 1_000, Instant::now());
    let us = |at: Instant| unix_us - (now - at).as_micros() as u64;
    let mut most = BTreeMap::<u64, usize>::new();
    for (asked, admitted) in admitted.iter().map(|(asked, admitted)| (us(*asked), us(*admitted))) {
        // Who asked at the edge may be of either, and the clock counts in milliseconds.
        let is_inside = asked % window_us > EDGE_US && admitted % window_us < window_us - EDGE_US;
        if is_inside && asked / window_us == admitted / window_us {
            *most.entry(asked / window_us).or_default() += 1;
        }
    }
    most.into_values().max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_holds_more_than_its_limit_says() {
    let stage = Stage::start(3).await;
    // All at once, and so that much is used late.
    let pauses = [Duration::ZERO, Duration::from_millis(150)];
    let names = ["exact", "coarse", "paced", "bucket", "fixed"];
    for (name, pause) in names.into_iter().flat_map(|name| pauses.map(|pause| (name, pause))) {
        let limit = stage.limit(name);
        let (admitted, sliced) = stage.spend(&stage.ask(&[name]), pause).await;
        let most = most_within(&admitted, Duration::from_micros(limit.window_us));
        let may = match limit.algorithm {
            Algorithm::SlidingWindow => limit.quota,
            Algorithm::Gcra | Algorithm::TokenBucket => limit.quota + limit.burst,
            _ => 2 * limit.quota,
        };
        let all = SPEND.as_micros() as u64 / limit.window_us * limit.quota;
        eprintln!(
            "{name}, {pause:?}: {most} of {may}; {} of about {all}, {sliced} ahead",
            admitted.len()
        );
        assert!(most as u64 <= may, "{name}: {most} of {may}");
        if limit.algorithm == Algorithm::FixedWindow {
            let most = most_between_multiples(&admitted, limit.window_us);
            assert!(most as u64 <= limit.quota, "{name}: {most} of {} at once", limit.quota);
        }
        assert!(sliced > 0 || !pause.is_zero(), "{name}: nothing was taken ahead");
        assert!(admitted.len() as u64 > all / 2, "{name}: much was left to nobody");
    }
    let both = stage.ask(&["exact", "paced"]);
    let (admitted, sliced) = stage.spend(&both, Duration::ZERO).await;
    for limit in &both.limits {
        let may = limit.quota + if limit.algorithm == Algorithm::Gcra { limit.burst } else { 0 };
        let most = most_within(&admitted, Duration::from_micros(limit.window_us));
        assert!(most as u64 <= may && sliced > 0, "both: {most} of {may}, {sliced} ahead");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_subject_is_hardly_asked_about_and_what_is_not_used_comes_back() {
    let stage = Stage::start(2).await;
    for name in ["plenty", "more"] {
        let before = (stage.scripts(), stage.left(name).await);
        let (admitted, sliced) = stage.spend(&stage.ask(&[name]), Duration::ZERO).await;
        let scripts = stage.scripts() - before.0;
        eprintln!("{name}: {} admitted, {sliced} ahead, {scripts} scripts", admitted.len());
        assert!(admitted.len() > 2_000, "little was asked: {}", admitted.len());
        assert!(scripts < admitted.len() as u64 / 20, "{scripts} for {}", admitted.len());
        if name == "plenty" {
            let left = before.1 - admitted.len() as u64;
            eventually(SOON, "the rest comes back", async || stage.left(name).await == left).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_gives_all_back_at_once() {
    let stage = Stage::start(1).await;
    let (ask, before) = (stage.ask(&["plenty"]), stage.left("plenty").await);
    let admitted = stage.until_sliced(&ask).await;
    stage.stop.cancel();
    stage.tasks.close();
    stage.tasks.wait().await;
    assert_eq!(before - stage.left("plenty").await, admitted);
    assert_eq!(stage.instances[0].decider(&ask), Source::Count);
    assert_eq!(stage.check(&ask).await, Source::Count, "and takes no more");
}

/// On one thread, which does nothing for a while: as a process that is frozen.
#[tokio::test(flavor = "current_thread")]
async fn nothing_is_used_after_its_time() {
    let stage = Stage::start(1).await;
    let ask = stage.ask(&["plenty"]);
    let before = stage.left("plenty").await;
    let admitted = stage.until_sliced(&ask).await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < FROZEN {
        std::thread::park_timeout(FROZEN);
    }
    assert_eq!(stage.instances[0].decider(&ask), Source::Count);
    assert_eq!(stage.check(&ask).await, Source::Count);
    let left = before - admitted - 1;
    eventually(SOON, "the rest comes back", async || stage.left("plenty").await == left).await;
}

/// Whoever is asked about by two sets of limits has what was taken for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_are_asked_in_turn_do_not_take_from_each_other() {
    let stage = Stage::start(1).await;
    let asks = [stage.ask(&["plenty"]), stage.ask(&["more"])];
    let before = stage.scripts();
    for n in 0..4_000 {
        stage.check(&asks[n % 2]).await;
    }
    let scripts = stage.scripts() - before;
    assert!(scripts < 400, "{scripts} scripts");
}

/// Whoever leaves meanwhile has taken for those who come next, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_loses_nothing() {
    let stage = Stage::start(1).await;
    let (ask, before) = (stage.ask(&["plenty"]), stage.left("plenty").await);
    let mut admitted = stage.until_sliced(&ask).await;
    let mut left = 0;
    while left < 200 {
        // Polled once: what is not there by then is left.
        let asks = std::slice::from_ref(&ask);
        match stage.instances[0].check(asks).now_or_never() {
            Some(_) => admitted += 1,
            None => left += 1,
        }
        tokio::task::yield_now().await;
    }
    let most = before - admitted;
    // Of those who left each may be charged for itself, and no more.
    eventually(SOON, "the rest comes back", async || {
        (most - left..=most).contains(&stage.left("plenty").await)
    })
    .await;
}

/// A window that is longer by now is not made to end with the one of before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_ends_nothing_else() {
    let stage = Stage::start(1).await;
    let long = stage.ask(&["plenty"]);
    let short = Limit { window_us: 5_000_000, ..(*long.limits[0]).clone() };
    let short = Ask { limits: vec![Arc::new(short)], ..long.clone() };
    let before = stage.left("plenty").await;
    let mut admitted = stage.until_sliced(&short).await;
    for _ in 0..10 {
        let id = format!("long {admitted}");
        stage.check(&Ask { charge_id: id, ..long.clone() }).await;
        admitted += 1;
    }
    let left = before - admitted;
    eventually(SOON, "the rest comes back", async || stage.left("plenty").await == left).await;
    let Place::Redis(key) = stage.instances[0].place("ann", &long.limits[0]) else { panic!() };
    let ttl: u64 = stage.server.cli(&["PTTL", &key]).parse().unwrap();
    assert!(ttl > 60_000, "it ends in {ttl} ms");
}

/// What is repeated, given back or held is told apart on Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_has_an_id_is_taken_ahead() {
    let stage = Stage::start(1).await;
    for n in 0..400 {
        let ask = Ask { charge_id: n.to_string(), ..stage.ask(&["plenty"]) };
        let answer = stage.instances[0].check(std::slice::from_ref(&ask)).await.remove(0);
        assert_eq!(answer.unwrap().source, Source::Count);
    }
}
