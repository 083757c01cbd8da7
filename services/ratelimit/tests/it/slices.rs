//! What is taken ahead of time: what it saves, what it never costs, and what becomes of
//! the rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{join_all, pending};
use mingle_ratelimit::{
    Config,
    domain::{Algorithm, Ask, Limit, Source},
    store::{Failover, Instance, Store as _, redis::RedisStore},
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::clock::{Clock, SystemClock};
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

[ratelimit.limits.more]
algorithm = "gcra"
quota = 2000000
window = "1h"
burst = 1000000
"#;

/// Of each limit: several windows.
const SPEND: Duration = Duration::from_secs(2);
const CALLERS: usize = 8;

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
        let config: Config = Context::for_test(&[Config::DEFAULTS], LIMITS).config.read().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut all = Vec::new();
        for at in 0..instances {
            let redis = connect(&server).await;
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

    /// Commands for a subject that were run.
    fn scripts(&self) -> u64 {
        let told = self.server.cli(&["INFO", "commandstats"]);
        let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
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
    let mut admitted = 0;
    loop {
        let asks = vec![ask.clone(); 16];
        let answers = join_all(asks.chunks(1).map(|ask| stage.instances[0].check(ask))).await;
        let answers: Vec<_> = answers.into_iter().map(|it| it[0].clone().unwrap()).collect();
        admitted += answers.len() as u64;
        if answers.iter().any(|answer| answer.source == Source::Slice) {
            break;
        }
    }
    stage.stop.cancel();
    stage.tasks.close();
    stage.tasks.wait().await;
    assert_eq!(before - stage.left("plenty").await, admitted);
    let after = stage.instances[0].check(std::slice::from_ref(&ask)).await.remove(0).unwrap();
    assert_eq!(after.source, Source::Count, "and takes no more");
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
