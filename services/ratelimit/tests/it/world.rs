//! A store, its clock, and short names for what is asked of it.

use std::{sync::Arc, time::Duration};

use mingle_ratelimit::{
    Config,
    domain::{Answer, Ask, Charged, Limits},
    store::{Failover, Instance, Store, redis::RedisStore},
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::{
    Result,
    bus::{self, Bus, Merged, Servers},
    clock::ManualClock,
    redis::{Options, Redis},
};
use mingle_testkit::{Cluster, Redis as Server, Upstash, eventually};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const MINUTE: i64 = 60_000;
/// For what must happen at all.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The limits of every world.
pub(crate) const LIMITS: &str = r#"
[ratelimit.limits.three]
algorithm = "sliding_window"
quota = 3
window = "1m"

[ratelimit.limits.ten]
algorithm = "sliding_window"
quota = 10
window = "15m"

[ratelimit.limits.thousand]
algorithm = "sliding_window"
quota = 1000
window = "1m"

[ratelimit.limits.coarse]
algorithm = "sliding_window"
quota = 1000
window = "1h"

[ratelimit.limits.watched]
algorithm = "sliding_window"
quota = 1
window = "1m"
shadow = true

# One each 6 s, 4 at once.
[ratelimit.limits.paced]
algorithm = "gcra"
quota = 10
window = "1m"
burst = 4

# One each 6 s, all at once.
[ratelimit.limits.bucket]
algorithm = "token_bucket"
quota = 10
window = "1m"

[ratelimit.limits.fixed]
algorithm = "fixed_window"
quota = 3
window = "1m"

[ratelimit.limits.jobs]
algorithm = "concurrency"
quota = 3
window = "1m"

[ratelimit.limits.fleet]
algorithm = "concurrency"
quota = 4
window = "90s"

[ratelimit.limits.shut]
algorithm = "sliding_window"
quota = 5
window = "1m"
outage = "closed"

[ratelimit.limits.free]
algorithm = "sliding_window"
quota = 5
window = "1m"
outage = "open"

[ratelimit.limits.even]
algorithm = "gcra"
quota = 60
window = "1m"
"#;

/// A store and its clock.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) limits: Limits,
    /// What the store is kept in, where that is a server of its own.
    pub(crate) _server: Option<Server>,
}

/// An instance that counts on `redis` while it can.
pub(crate) fn failover(redis: Redis, clock: Arc<ManualClock>, id: &str) -> Failover {
    let bounds = config().bounds();
    let bus = bus(&redis);
    let together = RedisStore::new(redis, bounds.remember_us);
    let instance = Instance { id: id.to_owned(), clock, bus, bounds };
    Failover::start(together, instance, &TaskTracker::new(), CancellationToken::new())
}

/// Between the instances on this server.
pub(crate) fn bus(redis: &Redis) -> Arc<dyn Bus> {
    let quick = bus::Options { beat: Duration::from_millis(200), ..bus::Options::default() };
    Arc::new(Merged::start(Servers::Redis(redis.clone()), quick))
}

/// The configuration that every world has.
pub(crate) fn config() -> Config {
    Context::for_test(&[Config::DEFAULTS], LIMITS).config.read().unwrap()
}

pub(crate) async fn connect(server: &Server) -> Redis {
    // No call should time out here, on however slow a machine.
    connect_within(server, Duration::from_secs(10)).await
}

/// A connection whose calls may take `timeout`.
pub(crate) async fn connect_within(server: &Server, timeout: Duration) -> Redis {
    connect_with(Options { timeout, ..Options::new(server.url()) }).await
}

/// Connections to the cluster that tests share.
pub(crate) async fn connect_to_cluster() -> Redis {
    let (servers, prefix) = Cluster::shared().await;
    connect_as(servers.root_url(), prefix).await
}

/// Connections to what Upstash is, which tests share.
pub(crate) async fn connect_to_upstash() -> Redis {
    let (server, prefix) = Upstash::shared().await;
    connect_as(server.url(), prefix).await
}

async fn connect_as(url: String, prefix: String) -> Redis {
    let timeout = Duration::from_secs(10);
    let redis = connect_with(Options { timeout, prefix, ..Options::new(url) }).await;
    redis.connected().await;
    redis
}

async fn connect_with(options: Options) -> Redis {
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    redis
}

pub(crate) async fn connected(redis: &Redis) {
    let time = redis::cmd("TIME");
    eventually(SOON, "the connection", async || redis.query::<()>(&time).await.is_ok()).await;
}

/// Gives a charge of the usual limits back.
pub(crate) async fn refund(
    store: &impl Store,
    subject: &str,
    charge_id: &str,
    unless_repeated: bool,
) -> Result<bool> {
    let charge = Charged { subject, charge_id, unless_repeated };
    store.refund(charge, &Arc::new(config().limits())).await
}

/// Rounded up, as replies are.
pub(crate) fn ms(us: u64) -> u64 {
    us.div_ceil(1_000)
}

pub(crate) fn ask(limits: &Limits, subject: &str, id: &str, cost: u64, of: &[&str]) -> Ask {
    let limits = of.iter().map(|name| limits[*name].clone()).collect();
    Ask { subject: subject.to_owned(), charge_id: id.to_owned(), is_new: false, cost, limits }
}

impl World {
    pub(crate) fn ask(&self, subject: &str, id: &str, cost: u64, of: &[&str]) -> Ask {
        ask(&self.limits, subject, id, cost, of)
    }

    pub(crate) async fn check(&self, ask: &Ask) -> Answer {
        let mut answers = self.store.check(std::slice::from_ref(ask)).await;
        assert_eq!(answers.len(), 1);
        answers.remove(0).unwrap()
    }

    /// Charges 1; whether it was allowed.
    pub(crate) async fn take(&self, subject: &str, id: &str, limit: &str) -> bool {
        self.check(&self.ask(subject, id, 1, &[limit])).await.verdict.is_allowed()
    }

    /// What is left of a limit.
    pub(crate) async fn left(&self, subject: &str, limit: &str) -> u64 {
        self.peek(subject, 1, limit).await.standings[0].remaining
    }

    pub(crate) async fn peek(&self, subject: &str, cost: u64, limit: &str) -> Answer {
        self.store.peek(&self.ask(subject, "", cost, &[limit])).await.unwrap()
    }

    pub(crate) async fn refund(&self, subject: &str, id: &str) -> bool {
        self.give_back(subject, id, false).await
    }

    pub(crate) async fn reset(&self, subject: &str, of: &[&str]) {
        let limits: Vec<_> = of.iter().map(|name| self.limits[*name].clone()).collect();
        self.store.reset(subject, &limits).await.unwrap();
    }

    /// The same unless it was found made already.
    pub(crate) async fn refund_unless_repeated(&self, subject: &str, id: &str) -> bool {
        self.give_back(subject, id, true).await
    }

    async fn give_back(&self, subject: &str, charge_id: &str, unless_repeated: bool) -> bool {
        let charge = Charged { subject, charge_id, unless_repeated };
        self.store.refund(charge, &Arc::new(self.limits.clone())).await.unwrap()
    }
}
