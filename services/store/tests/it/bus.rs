use bytes::Bytes;
use mingle_store::bus::{Bus, Delivery, Memory};

fn payload(n: u32) -> Bytes {
    Bytes::from(n.to_string())
}

#[tokio::test]
async fn delivers_in_order_to_every_subscriber_of_the_topic_alone() {
    let bus = Memory::new();
    let mut first = bus.subscribe("a").await.unwrap();
    let mut second = bus.subscribe("a").await.unwrap();
    let mut other = bus.subscribe("b").await.unwrap();
    for n in 0..100 {
        bus.publish("a", payload(n)).await.unwrap();
    }
    bus.publish("b", payload(7)).await.unwrap();
    for n in 0..100 {
        assert_eq!(first.recv().await, Some(Delivery::Message(payload(n))));
        assert_eq!(second.recv().await, Some(Delivery::Message(payload(n))));
    }
    assert_eq!(other.recv().await, Some(Delivery::Message(payload(7))));
}

#[tokio::test]
async fn an_overflow_is_a_gap_and_the_next_message_arrives() {
    let bus = Memory::new();
    let mut slow = bus.subscribe("a").await.unwrap();
    for n in 0..5000 {
        bus.publish("a", payload(n)).await.unwrap();
    }
    assert_eq!(slow.recv().await, Some(Delivery::Gap));
    let mut last = None;
    for _ in 0..1024 {
        last = slow.recv().await;
    }
    assert_eq!(last, Some(Delivery::Message(payload(1023))), "the queue is bounded");
    bus.publish("a", payload(9)).await.unwrap();
    assert_eq!(slow.recv().await, Some(Delivery::Message(payload(9))));
}

#[tokio::test]
async fn a_topic_lives_as_long_as_its_subscribers() {
    let bus = Memory::new();
    let first = bus.subscribe("a").await.unwrap();
    let second = bus.subscribe("a").await.unwrap();
    drop(first);
    assert_eq!(bus.topics(), 1);
    drop(second);
    assert_eq!(bus.topics(), 0);
    bus.publish("a", payload(1)).await.unwrap();
}
