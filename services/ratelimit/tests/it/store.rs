//! The backends, each through the one conformance suite, and what is of one
//! backend only.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use mingle_ratelimit::{
    domain::{Ask, Charged, Limit},
    store::{
        Store as _,
        memory::{Bounds, Memory},
        redis::RedisStore,
    },
};
use mingle_store::{
    ErrorKind,
    clock::{Clock, ManualClock},
    redis::Redis,
};
use mingle_testkit::Redis as Server;

use crate::{
    conformance::{resets, suite},
    through,
    world::{
        self, MINUTE, START, World, ask, config, connect, connect_to_cluster, connect_to_upstash,
    },
};

async fn memory() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let limits = config().limits();
    let store = Arc::new(Memory::new(clock.clone(), config().bounds()));
    World { store, clock, limits, _server: None }
}

suite!(memory);

async fn redis() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let limits = config().limits();
    let server = Server::start().await;
    let redis = connect(&server).await.with_clock(clock.clone());
    let remember_us = config().bounds().remember_us;
    let store = Arc::new(RedisStore::new(redis, remember_us));
    World { store, clock, limits, _server: Some(server) }
}

suite!(redis);

async fn cluster() -> World {
    shared(connect_to_cluster().await)
}

suite!(cluster);

async fn upstash() -> World {
    shared(connect_to_upstash().await)
}

suite!(upstash);

/// On a server that other tests use, with other keys.
fn shared(redis: Redis) -> World {
    let clock = Arc::new(ManualClock::at(START));
    let limits = config().limits();
    let remember_us = config().bounds().remember_us;
    let redis = redis.with_clock(clock.clone());
    let store = Arc::new(RedisStore::new(redis, remember_us));
    World { store, clock, limits, _server: None }
}

/// Redis, with the process itself for when it is away.
async fn failover() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let server = Server::start().await;
    let redis = connect(&server).await.with_clock(clock.clone());
    let store = Arc::new(world::failover(redis, clock.clone(), "one"));
    World { store, clock, limits: config().limits(), _server: Some(server) }
}

suite!(failover);

/// The same while it is away: the one process there is has the whole quota.
async fn alone() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let server = Server::start().await;
    let redis = connect(&server).await.with_clock(clock.clone());
    let store = world::failover(redis, clock.clone(), "one");
    server.kill();
    let mut open = store.breaker().changes();
    open.wait_for(|open| *open).await.unwrap();
    World { store: Arc::new(store), clock, limits: config().limits(), _server: Some(server) }
}

suite!(alone);

/// Not a backend of its own: the role over memory, by its RPCs.
async fn grpc() -> World {
    through::open().await
}

suite!(grpc);

resets!(memory, redis, cluster, upstash, failover, grpc);

#[tokio::test]
async fn nothing_is_reset_while_nobody_counts_together() {
    let world = alone().await;
    assert!(world.take("ann", "a", "three").await);
    let refused = world.store.reset("ann", &[world.limits["three"].clone()]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.left("ann", "three").await, 2);
}

/// Of another quota by now, which counts in another grain.
#[tokio::test]
async fn a_refund_after_a_reload_takes_nothing_else_with_it() {
    for world in [memory().await, redis().await] {
        let hour =
            |quota| Limit { quota, window_us: 3_600_000_000, ..(*world.limits["ten"]).clone() };
        let of = |id: &str, quota, cost| Ask {
            limits: vec![Arc::new(hour(quota))],
            ..world.ask("ann", id, cost, &["ten"])
        };
        for n in 0..200 {
            world.clock.advance(1_001);
            assert!(world.check(&of(&n.to_string(), 200, 1)).await.verdict.is_allowed());
        }
        world.clock.advance(120_000);
        let limits = [("ten".to_owned(), Arc::new(hour(300)))].into();
        let last = Charged { subject: "ann", charge_id: "199", unless_repeated: false };
        assert!(world.store.refund(last, &Arc::new(limits)).await.unwrap());
        let left = world.store.peek(&of("", 300, 1)).await.unwrap().standings[0].remaining;
        assert_eq!(left, 101);
    }
}

/// However many, each lease is renewed and released.
#[tokio::test]
async fn memory_forgets_no_lease_that_is_held() {
    let world = memory().await;
    let many = Limit { quota: 5_000, ..(*world.limits["jobs"]).clone() };
    let of = |n: u32| Ask {
        limits: vec![Arc::new(many.clone())],
        ..world.ask("ann", &n.to_string(), 1, &["jobs"])
    };
    for _ in 0..2 {
        for n in 0..2_000 {
            assert!(world.check(&of(n)).await.verdict.is_allowed());
        }
        let left = world.store.peek(&of(0)).await.unwrap().standings[0].remaining;
        assert_eq!(left, 3_000, "each is held once");
    }
    for n in 0..2_000 {
        assert!(world.refund("ann", &n.to_string()).await, "{n}");
    }
}

/// Tells microseconds, as the machine's clock does.
struct Fine(AtomicI64);

impl Clock for Fine {
    fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1_000)
    }

    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_window_of_memory_ends_to_the_microsecond() {
    let begin_us = START * 1_000 + 999;
    let clock = Arc::new(Fine(begin_us.into()));
    let memory = Memory::new(clock.clone(), config().bounds());
    let limits = config().limits();
    for (after_us, is_allowed) in [(0, true), (MINUTE * 1_000 - 1, false), (MINUTE * 1_000, true)] {
        clock.0.store(begin_us + after_us, Ordering::SeqCst);
        let all = ask(&limits, "ann", "", 3, &["three"]);
        let verdict = memory.check(&[all]).await.remove(0).unwrap().verdict;
        assert_eq!(verdict.is_allowed(), is_allowed, "{after_us}");
    }
}

#[tokio::test]
async fn memory_is_bounded_and_forgets_first_what_ends_first() {
    let clock = Arc::new(ManualClock::at(START));
    let limits = config().limits();
    // One subject a shard.
    let bounds = Bounds { max_subjects: 64, max_charges: 2, remember_us: 60_000_000 };
    let memory = Memory::new(clock.clone(), bounds);
    for subject in 0..1_000 {
        clock.advance(1);
        let ask = ask(&limits, &format!("user {subject}"), "1", 1, &["ten"]);
        assert!(memory.check(&[ask]).await[0].as_ref().unwrap().verdict.is_allowed());
        assert!(memory.subjects() <= 64);
    }
    let left = async |subject: &str| {
        let ask = ask(&limits, subject, "", 1, &["ten"]);
        memory.peek(&ask).await.unwrap().standings[0].remaining
    };
    assert_eq!(left("user 999").await, 9, "the last is not forgotten");
    // Charges of one subject: the oldest of three is unknown.
    for id in ["a", "b", "c"] {
        memory.check(&[ask(&limits, "ann", id, 1, &["three"])]).await.remove(0).unwrap();
    }
    let limits = Arc::new(limits);
    for (charge_id, is_known) in [("a", false), ("b", true), ("c", true)] {
        let charge = Charged { subject: "ann", charge_id, unless_repeated: false };
        assert_eq!(memory.refund(charge, &limits).await.unwrap(), is_known, "{charge_id}");
    }
    clock.advance(15 * MINUTE);
    memory.check(&[ask(&limits, "new", "1", 1, &["three"])]).await.remove(0).unwrap();
    assert!(memory.subjects() <= 64);
}
