//! The backends, each through the one conformance suite.

use std::sync::Arc;

use mingle_cache::store::{Keeper, memory::Memory, redis::RedisStore};
use mingle_store::{clock::ManualClock, redis::Redis};
use mingle_testkit::Redis as Server;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    conformance::suite,
    kept::Kept,
    world::{START, World, config, connect, connect_to_cluster, connect_to_upstash},
};

async fn memory() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(Memory::new(clock.clone(), config().memory_bytes));
    World { store, clock, namespaces: config().namespaces(), _server: None }
}

suite!(memory);

async fn redis() -> World {
    let server = Server::start().await;
    let world = over(connect(&server).await);
    World { _server: Some(server), ..world }
}

suite!(redis);

async fn cluster() -> World {
    over(connect_to_cluster().await)
}

suite!(cluster);

async fn upstash() -> World {
    over(connect_to_upstash().await)
}

suite!(upstash);

async fn failover() -> World {
    let (server, clock) = (Server::start().await, Arc::new(ManualClock::at(START)));
    let memory = Memory::new(clock.clone(), config().memory_bytes);
    let shared = RedisStore::new(connect(&server).await.with_clock(clock.clone()));
    // Nothing stops it but the end of the test.
    let keeper = Keeper::start(memory, shared, &TaskTracker::new(), CancellationToken::new());
    let (store, namespaces) = (Arc::new(Kept(keeper)), config().namespaces());
    World { store, clock, namespaces, _server: Some(server) }
}

suite!(failover);

fn over(redis: Redis) -> World {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(RedisStore::new(redis.with_clock(clock.clone())));
    World { store, clock, namespaces: config().namespaces(), _server: None }
}
