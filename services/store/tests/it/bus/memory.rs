use std::sync::Arc;

use mingle_store::bus::{Bus, Memory};

use super::conformance::{self, Pair};

/// One process has one memory: both ends are the same bus.
async fn pair() -> Pair {
    let bus: Arc<dyn Bus> = Arc::new(Memory::new());
    Pair::new(bus.clone(), bus)
}

conformance::suite!(pair().await);

#[tokio::test]
async fn a_topic_lives_as_long_as_its_subscribers() {
    let bus = Memory::new();
    let first = bus.subscribe("a").await.unwrap();
    let second = bus.subscribe("a").await.unwrap();
    drop(first);
    assert_eq!(bus.topics(), 1);
    drop(second);
    assert_eq!(bus.topics(), 0);
}

#[tokio::test]
async fn the_end_of_the_bus_comes_after_what_was_queued() {
    let bus = Memory::new();
    let mut left = bus.subscribe("a").await.unwrap();
    bus.publish(&[super::reader::announcement("a", 1)]).await.unwrap();
    drop(bus);
    assert!(left.recv().await.is_some());
    assert_eq!(left.recv().await, None);
}
