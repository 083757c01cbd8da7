//! Several processes over one Redis, and what befalls it.

mod claims;
mod faults;
mod figures;
mod idle;
mod known;
mod lost;
mod rest;
mod role;
mod sweeping;
mod unreadable;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mingle_presence::{
    domain::Claim,
    store::{Connected, Limits, Store as _, redis::RedisStore},
};
use mingle_store::{clock::ManualClock, redis::Redis};
use mingle_testkit::Redis as Server;

use crate::harness::{
    servers,
    world::{LIMITS, NEVER_RESTS, START, TERMS, claim},
};

/// A server, some processes and their clock.
struct Processes {
    stores: Vec<Arc<RedisStore>>,
    connections: Vec<Redis>,
    clock: Arc<ManualClock>,
    server: Server,
}

/// Enough room that only what a test is about refuses anything.
const ROOMY: Limits = Limits { max_sessions: 100_000, ..LIMITS };

impl Processes {
    async fn start(count: usize, limits: Limits) -> Self {
        Self::start_within(count, limits, Duration::from_secs(10)).await
    }

    async fn start_within(count: usize, limits: Limits, timeout: Duration) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let server = Server::start().await;
        let (mut stores, mut connections) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let redis = servers::connect_within(&server, timeout).await;
            let redis = redis.with_clock(clock.clone());
            let store = RedisStore::with_patience(redis.clone(), TERMS, limits, NEVER_RESTS);
            stores.push(Arc::new(store));
            connections.push(redis);
        }
        Self { stores, connections, clock, server }
    }

    /// The counters of all partitions together, as redis-cli reads them.
    fn counters(&self) -> BTreeMap<String, i64> {
        let mut sums = BTreeMap::new();
        for key in self.keys("*:c") {
            let answer = self.server.cli(&["HGETALL", &key]);
            let lines: Vec<_> = answer.lines().collect();
            for pair in lines.chunks(2) {
                *sums.entry(pair[0].to_owned()).or_insert(0) += pair[1].parse::<i64>().unwrap();
            }
        }
        sums
    }

    fn keys(&self, pattern: &str) -> Vec<String> {
        let keys = self.server.cli(&["KEYS", pattern]);
        keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    /// Users that are stored, as redis-cli counts them.
    fn stored_users(&self) -> i64 {
        let buckets = self.keys("*:[uw]:*");
        buckets.iter().map(|key| self.server.cli(&["HLEN", key]).parse::<i64>().unwrap()).sum()
    }

    /// Compares the counters with what the users show, one by one.
    async fn assert_counters_are_right(&self, users: &[String]) {
        let shown = self.stores[0].get_many(users).await.unwrap();
        let online = shown.iter().filter(|presence| presence.status.is_some()).count() as i64;
        let live: i64 = shown.iter().map(|presence| i64::from(presence.sessions)).sum();
        let mut counters = self.counters();
        assert_eq!(counters.remove("users").unwrap_or(0), online, "users");
        let stored = counters.remove("sessions").unwrap_or(0);
        assert!(stored >= live, "{stored} stored, {live} live");
        assert_eq!(counters.values().sum::<i64>(), live, "open sockets: {counters:?}");
        assert!(counters.values().all(|open| *open > 0), "{counters:?}");
        assert_eq!(self.stored_users(), online, "stored");
    }

    async fn connect(&self, process: usize, node: &str, offer: Claim) -> Connected {
        self.stores[process].connect(node, offer).await.unwrap()
    }
}

/// The socket of a user who has one.
fn socket(user: &str, generation: u64, connection: &str) -> Claim {
    claim(user, "s", generation, connection)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("u{at}")).collect()
}
