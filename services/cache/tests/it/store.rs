//! The backends, each through the one conformance suite.

use std::sync::Arc;

use mingle_cache::store::{memory::Memory, redis::RedisStore};
use mingle_store::{clock::ManualClock, redis::Redis};
use mingle_testkit::Redis as Server;

use crate::{
    conformance::suite,
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

fn over(redis: Redis) -> World {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(RedisStore::new(redis.with_clock(clock.clone())));
    World { store, clock, namespaces: config().namespaces(), _server: None }
}
