//! What every bus holds, between two ends that may be two processes.

use std::{any::Any, sync::Arc};

use mingle_store::bus::{Announcement, Bus};

use super::reader::{News, Reader, announcement, publish};

/// Two ends of a bus that hear everything, and what they live on.
pub(crate) struct Pair {
    pub(crate) here: Arc<dyn Bus>,
    pub(crate) there: Arc<dyn Bus>,
    _servers: Box<dyn Any + Send>,
}

impl Pair {
    pub(crate) fn new(here: Arc<dyn Bus>, there: Arc<dyn Bus>) -> Self {
        Self::on((), here, there)
    }

    pub(crate) fn on(servers: impl Any + Send, here: Arc<dyn Bus>, there: Arc<dyn Bus>) -> Self {
        Self { here, there, _servers: Box::new(servers) }
    }
}

/// The suite over the pairs that the expression makes.
macro_rules! suite {
    ($pair:expr) => {
        $crate::bus::conformance::suite!($pair;
            delivers_to_every_subscriber_of_the_topic_alone
            keeps_the_order_of_a_publisher
            a_batch_may_hold_many_topics
            publishes_to_its_own_subscribers
            hears_what_is_published_after_subscribe_returned
            nothing_comes_after_unsubscribing
            a_topic_is_subscribed_again
            an_overflow_is_a_gap_and_the_next_message_arrives
            any_bytes_arrive_as_they_were
            a_large_payload_arrives_or_is_a_gap
            an_empty_batch_is_nothing
        );
    };
    ($pair:expr; $($body:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $body() {
            $crate::bus::conformance::$body($pair).await;
        })*
    };
}
pub(crate) use suite;

pub(crate) async fn delivers_to_every_subscriber_of_the_topic_alone(pair: Pair) {
    let mut first = Reader::of(&pair.there, "a").await;
    let mut second = Reader::of(&pair.there, "a").await;
    let mut other = Reader::of(&pair.there, "b").await;
    publish(&pair.here, "a", 0..100).await;
    publish(&pair.here, "b", 7..8).await;
    first.expect(0..100).await;
    second.expect(0..100).await;
    other.expect(7..8).await;
}

pub(crate) async fn keeps_the_order_of_a_publisher(pair: Pair) {
    let mut reader = Reader::of(&pair.there, "a").await;
    for begin in (0..500).step_by(50) {
        publish(&pair.here, "a", begin..begin + 49).await;
        publish(&pair.here, "a", begin + 49..begin + 50).await;
    }
    reader.expect(0..500).await;
}

pub(crate) async fn a_batch_may_hold_many_topics(pair: Pair) {
    let topics: Vec<String> = (0..64).map(|n| format!("topic:{n}")).collect();
    let mut readers = Vec::new();
    for topic in &topics {
        readers.push(Reader::of(&pair.there, topic).await);
    }
    let batch: Vec<_> = (0..256).map(|n| announcement(&topics[n as usize % 64], n)).collect();
    pair.here.publish(&batch).await.unwrap();
    for (at, reader) in readers.iter_mut().enumerate() {
        for round in 0..4 {
            let n = u32::try_from(round * 64 + at).unwrap();
            assert_eq!(reader.next().await, News::Number(n));
        }
    }
}

pub(crate) async fn publishes_to_its_own_subscribers(pair: Pair) {
    let mut own = Reader::of(&pair.here, "a").await;
    let mut foreign = Reader::of(&pair.there, "a").await;
    publish(&pair.here, "a", 0..10).await;
    own.expect(0..10).await;
    foreign.expect(0..10).await;
}

pub(crate) async fn hears_what_is_published_after_subscribe_returned(pair: Pair) {
    for round in 0..50 {
        let topic = format!("round:{round}");
        let mut reader = Reader::of(&pair.there, &topic).await;
        publish(&pair.here, &topic, round..round + 1).await;
        reader.expect(round..round + 1).await;
    }
}

pub(crate) async fn nothing_comes_after_unsubscribing(pair: Pair) {
    let left = Reader::of(&pair.there, "a").await;
    let mut stays = Reader::of(&pair.there, "b").await;
    drop(left);
    publish(&pair.here, "a", 0..10).await;
    publish(&pair.here, "b", 10..11).await;
    // What follows the unheard ones on the same way has come: they are past.
    stays.expect(10..11).await;
    let mut back = Reader::of(&pair.there, "a").await;
    publish(&pair.here, "a", 11..12).await;
    back.expect(11..12).await;
}

pub(crate) async fn a_topic_is_subscribed_again(pair: Pair) {
    let mut stays = Reader::of(&pair.there, "a").await;
    for round in 0..100 {
        drop(Reader::of(&pair.there, "b").await);
        let mut back = Reader::of(&pair.there, "b").await;
        publish(&pair.here, "b", round..round + 1).await;
        back.expect(round..round + 1).await;
    }
    publish(&pair.here, "a", 0..1).await;
    stays.expect(0..1).await;
}

pub(crate) async fn an_overflow_is_a_gap_and_the_next_message_arrives(pair: Pair) {
    let mut slow = Reader::of(&pair.there, "a").await;
    let mut quick = Reader::of(&pair.there, "a").await;
    for begin in (0..5_000).step_by(250) {
        publish(&pair.here, "a", begin..begin + 250).await;
        quick.expect(begin..begin + 250).await;
    }
    assert_eq!(slow.next().await, News::Gap);
    // What had been queued is bounded, and is the beginning.
    slow.expect(0..500).await;
    publish(&pair.here, "a", 9_000..9_001).await;
    assert_eq!(quick.until(9_000).await, 0);
    let rest = slow.until_gap_or(9_000).await;
    assert!(rest < 600, "{rest} more than the queue holds");
}

pub(crate) async fn any_bytes_arrive_as_they_were(pair: Pair) {
    let mut raw = pair.there.subscribe("bytes").await.unwrap();
    let all: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    for payload in [Vec::new(), vec![0], all] {
        pair.here.publish(&[Announcement::new("bytes", payload.clone())]).await.unwrap();
        loop {
            let heard = super::reader::message(&mut raw).await;
            // A copy of the one before may still come.
            if heard == payload {
                break;
            }
        }
    }
}

pub(crate) async fn a_large_payload_arrives_or_is_a_gap(pair: Pair) {
    let mut raw = pair.there.subscribe("large").await.unwrap();
    let large = vec![b'x'; 200_000];
    let batch = [Announcement::new("large", large.clone()), Announcement::new("large", "1")];
    pair.here.publish(&batch).await.unwrap();
    let first = tokio::time::timeout(super::reader::PATIENCE, raw.recv()).await.unwrap().unwrap();
    match first {
        mingle_store::bus::Delivery::Gap => {}
        mingle_store::bus::Delivery::Message(payload) => assert_eq!(payload, large),
    }
}

pub(crate) async fn an_empty_batch_is_nothing(pair: Pair) {
    let mut reader = Reader::of(&pair.there, "a").await;
    pair.here.publish(&[]).await.unwrap();
    publish(&pair.here, "a", 0..1).await;
    reader.expect(0..1).await;
}
