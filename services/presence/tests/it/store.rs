//! The backends, each through the one conformance suite, and what is of one
//! backend only.

use std::sync::Arc;

use mingle_presence::store::{Limits, Store as _, memory::Memory, redis::RedisStore};
use mingle_store::{clock::ManualClock, redis::Options};
use mingle_testkit::{Cluster, Redis as Server, Upstash};

use crate::{
    conformance::suite,
    harness::{
        servers, through,
        world::{LIMITS, NEVER_RESTS, START, TERMS, World, claim, node},
    },
};

async fn memory() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(Memory::new(clock.clone(), TERMS, LIMITS));
    World { store, clock, _server: None }
}

suite!(memory);

async fn redis() -> World {
    let clock = Arc::new(ManualClock::at(START));
    let server = Server::start().await;
    let redis = servers::connect(&server).await.with_clock(clock.clone());
    let store = Arc::new(RedisStore::with_patience(redis, TERMS, LIMITS, NEVER_RESTS));
    World { store, clock, _server: Some(server) }
}

suite!(redis);

async fn cluster() -> World {
    let (servers, prefix) = Cluster::shared().await;
    shared(servers.root_url(), prefix).await
}

suite!(cluster);

async fn upstash() -> World {
    let (server, prefix) = Upstash::shared().await;
    shared(server.url(), prefix).await
}

suite!(upstash);

/// On a server that other tests use, with other keys.
async fn shared(url: String, prefix: String) -> World {
    let clock = Arc::new(ManualClock::at(START));
    let options = Options { prefix, ..Options::new(url) };
    let redis = servers::connect_with(options).await.with_clock(clock.clone());
    let store = Arc::new(RedisStore::with_patience(redis, TERMS, LIMITS, NEVER_RESTS));
    World { store, clock, _server: None }
}

/// Not a backend of its own: the role over its store, by its RPCs.
async fn grpc() -> World {
    through::open().await
}

suite!(grpc);

#[tokio::test]
async fn a_session_in_memory_is_small() {
    const USERS: u32 = 20_000;
    let clock = Arc::new(ManualClock::at(START));
    let limits = Limits { max_sessions: USERS as usize, ..LIMITS };
    let store = Memory::new(clock, TERMS, limits);
    store.register_node(node("gw", 1)).await.unwrap();
    let before = resident_bytes();
    for at in 0..USERS {
        let user = format!("0190b0c1-8a2e-7000-8000-{at:012}");
        let mut offer = claim(&user, &format!("0190b0c1-8a2e-7000-9000-{at:012}"), 1, "");
        offer.connection_id = format!("0190b0c1-8a2e-7000-a000-{at:012}");
        store.connect("gw", offer).await.unwrap();
    }
    let each = (resident_bytes().saturating_sub(before)) / u64::from(USERS);
    println!("a user with one session and 36-byte ids: about {each} bytes resident");
    assert_eq!(store.count().await.unwrap().users, u64::from(USERS));
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
