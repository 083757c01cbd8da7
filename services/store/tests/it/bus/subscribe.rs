//! What is promised when `subscribe` returns.

use std::{sync::Arc, time::Duration};

use mingle_store::bus::{Bus, Merged, Options, Servers};
use mingle_testkit::eventually;

use super::{
    reader::{News, PATIENCE, Reader, publish, publish_when_possible},
    stage::{QUICK, Stage, heard, redis_client, start},
};

#[tokio::test]
async fn it_waits_for_the_confirmation() {
    let stage = Stage::open().await;
    let options = Options { subscribe: Duration::from_secs(5), lost_after: PATIENCE, ..QUICK };
    let bus: Arc<dyn Bus> = start(stage.on_redis().await, options).await;
    stage.redis.freeze();
    let mut subscribing = Box::pin(Reader::of(&bus, "a"));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut subscribing).await;
    assert!(early.is_err(), "the server has not confirmed");
    stage.redis.thaw();
    let mut reader = subscribing.await;
    publish_when_possible(&bus, "a", 0).await;
    assert_eq!(reader.next().await, News::Number(0), "and no gap");
}

#[tokio::test]
async fn what_is_confirmed_late_is_a_gap() {
    let stage = Stage::open().await;
    let options = Options { subscribe: Duration::from_millis(50), lost_after: PATIENCE, ..QUICK };
    let bus: Arc<dyn Bus> = start(stage.on_redis().await, options).await;
    stage.redis.freeze();
    let mut reader = Reader::of(&bus, "a").await;
    stage.redis.thaw();
    assert_eq!(reader.next().await, News::Gap);
    publish_when_possible(&bus, "a", 0).await;
    assert_eq!(reader.next().await, News::Number(0));
}

#[tokio::test]
async fn servers_that_are_away_keep_nobody_waiting_and_end_in_a_gap() {
    let server = mingle_testkit::Redis::start().await;
    server.kill();
    let redis = redis_client(&server, Duration::from_millis(250)).await;
    let bus: Arc<dyn Bus> = Arc::new(Merged::start(Servers::Redis(redis), QUICK));
    let begin = tokio::time::Instant::now();
    let mut readers = Vec::new();
    for topic in 0..256 {
        readers.push(Reader::of(&bus, &format!("topic:{topic}")).await);
    }
    assert!(begin.elapsed() < PATIENCE, "they wait together, not in turn");
    server.restart().await;
    for (topic, reader) in readers.iter_mut().enumerate() {
        assert_eq!(reader.next().await, News::Gap);
        publish_when_possible(&bus, &format!("topic:{topic}"), 0).await;
        reader.until(0).await;
    }
}

#[tokio::test]
async fn without_redis_a_gap_covers_the_time_until_the_others_know() {
    let stage = Stage::open().await;
    let beat = Duration::from_secs(2);
    let options = Options { beat, lost_after: beat * 2, ..QUICK };
    let merged = Merged::start(stage.on_postgres().await, options);
    heard(&merged).await;
    let bus: Arc<dyn Bus> = Arc::new(merged);
    let mut reader = Reader::of(&bus, "a").await;
    assert_eq!(reader.next().await, News::Gap);
    publish(&bus, "a", 0..1).await;
    assert_eq!(reader.next().await, News::Number(0));
}

#[tokio::test]
async fn the_server_forgets_topics_that_nobody_follows() {
    let stage = Stage::open().await;
    let bus: Arc<dyn Bus> = start(stage.on_redis().await, QUICK).await;
    let channels = || stage.redis.cli(&["PUBSUB", "CHANNELS", "*"]).lines().count();
    eventually(PATIENCE, "the beat alone", async || channels() == 1).await;
    let mut readers = Vec::new();
    for n in 0..100 {
        readers.push(Reader::of(&bus, &format!("topic:{}", n % 50)).await);
    }
    assert_eq!(channels(), 51, "each topic once");
    readers.truncate(50);
    publish(&bus, "topic:7", 0..1).await;
    readers[7].expect(0..1).await;
    assert_eq!(channels(), 51, "each still has a follower");
    readers.truncate(10);
    eventually(PATIENCE, "forty to be given up", async || channels() == 11).await;
}
