//! A source that is lost, half lost or silent: a gap, and then all is well.

use std::{sync::Arc, time::Duration};

use mingle_store::bus::{Bus, Merged, Options, Servers};
use mingle_testkit::eventually;
use sqlx::postgres::PgListener;

use super::{
    reader::{News, PATIENCE, Reader, announcement, publish, publish_when_possible},
    stage::{QUICK, Stage, heard, start},
};

#[tokio::test]
async fn killed_subscriptions_are_one_gap() {
    let stage = Stage::open().await;
    let here: Arc<dyn Bus> = start(stage.on_redis().await, Options::default()).await;
    let there: Arc<dyn Bus> = start(stage.on_redis().await, Options::default()).await;
    let mut readers = Vec::new();
    for topic in ["a", "b"] {
        readers.push((topic, Reader::of(&there, topic).await));
    }
    for round in 0..3 {
        eventually(PATIENCE, "one connection for each process", async || {
            stage.redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count() == 2
        })
        .await;
        assert_eq!(stage.kill_subscriptions(), 2);
        for (_, reader) in &mut readers {
            assert_eq!(reader.next().await, News::Gap);
        }
        for (topic, reader) in &mut readers {
            publish(&here, topic, round..round + 1).await;
            reader.expect(round..round + 1).await;
        }
    }
}

#[tokio::test]
async fn terminated_listeners_are_a_gap() {
    let stage = Stage::open().await;
    let here: Arc<dyn Bus> = start(stage.on_postgres().await, Options::default()).await;
    let there: Arc<dyn Bus> = start(stage.on_postgres().await, Options::default()).await;
    let mut reader = Reader::of(&there, "a").await;
    for round in 0..3 {
        eventually(PATIENCE, "one connection for each process", async || {
            stage.count_listeners() == 2
        })
        .await;
        assert_eq!(stage.terminate_listeners(), 2);
        assert_eq!(reader.next().await, News::Gap, "when it listens again");
        publish(&here, "a", round..round + 1).await;
        // Without Redis there is one more, a beat later.
        assert!(reader.until(round).await <= 1);
    }
}

#[tokio::test]
async fn a_host_that_vanished_is_left_for_the_one_in_its_place() {
    let stage = Stage::open().await;
    let (servers, proxy) = stage.on_postgres_by_proxy().await;
    let here: Arc<dyn Bus> = start(servers, QUICK).await;
    let there: Arc<dyn Bus> = start(stage.on_postgres().await, QUICK).await;
    let mut reader = Reader::of(&there, "a").await;
    for round in 0..5 {
        publish_when_possible(&here, "a", 2 * round).await;
        // As the statement is answered: nothing later comes through.
        proxy.strand();
        let before = proxy.traffic().connections;
        publish_when_possible(&here, "a", 2 * round + 1).await;
        reader.until(2 * round + 1).await;
        assert!(proxy.traffic().connections > before, "on another connection");
    }
}

#[tokio::test]
async fn a_frozen_server_is_lost_and_found() {
    let stage = Stage::with_own_postgres().await;
    let (redis, postgres) = (&stage.redis, stage.own_postgres());
    let servers = stage.on_redis().await;
    is_lost_and_found(servers, || redis.freeze(), || redis.thaw()).await;
    let servers = stage.on_postgres().await;
    is_lost_and_found(servers, || postgres.freeze(), || postgres.thaw()).await;
}

async fn is_lost_and_found(servers: Servers, freeze: impl Fn(), thaw: impl Fn()) {
    let merged = start(servers, QUICK).await;
    let bus: Arc<dyn Bus> = merged.clone();
    let mut reader = Reader::of(&bus, "a").await;
    freeze();
    eventually(PATIENCE, "the loss to be noticed", async || {
        let sources = merged.sources();
        sources.redis.or(sources.postgres) == Some(false)
    })
    .await;
    bus.publish(&[announcement("a", 1)]).await.expect_err("nobody takes it");
    thaw();
    reader.until_gap().await;
    publish_when_possible(&bus, "a", 2).await;
    reader.until(2).await;
}

#[tokio::test]
async fn what_the_server_refused_is_a_gap_with_the_next_heartbeat() {
    let stage = Stage::open().await;
    let here: Arc<dyn Bus> = start(stage.on_redis().await, Options::default()).await;
    let there: Arc<dyn Bus> = start(stage.on_redis().await, Options::default()).await;
    let (mut own, mut foreign) = (Reader::of(&here, "a").await, Reader::of(&there, "a").await);
    assert_eq!(stage.redis.cli(&["ACL", "SETUSER", "mingle", "-publish"]), "OK");
    here.publish(&[announcement("a", 1)]).await.expect_err("no permission");
    assert_eq!(stage.redis.cli(&["ACL", "SETUSER", "mingle", "+publish"]), "OK");
    assert_eq!(own.next().await, News::Gap);
    assert_eq!(foreign.next().await, News::Gap);
    publish(&here, "a", 2..3).await;
    foreign.expect(2..3).await;
}

#[tokio::test]
async fn a_process_that_dies_is_a_gap_and_one_that_ends_is_none() {
    let stage = Stage::open().await;
    let bus: Arc<dyn Bus> = start(stage.on_redis().await, QUICK).await;
    let ends = start(stage.on_redis().await, QUICK).await;
    let life = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let servers = stage.on_redis().await;
    let dies = life.spawn(async { Merged::start(servers, QUICK) }).await.unwrap();
    heard(&dies).await;
    let mut reader = Reader::of(&bus, "a").await;
    ends.close().await;
    let quiet = tokio::time::timeout(QUICK.lost_after * 2, reader.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    // As by kill -9: its connections end, and nobody says anything.
    life.shutdown_background();
    drop(dies);
    assert_eq!(reader.next().await, News::Gap);
}

#[tokio::test]
async fn many_publishers_share_statements() {
    let stage = Stage::open().await;
    let bus = start(stage.on_postgres().await, QUICK).await;
    let mut wire = PgListener::connect(stage.database()).await.unwrap();
    wire.listen("mingle_bus").await.unwrap();
    let shared: Arc<dyn Bus> = bus.clone();
    let mut reader = Reader::of(&shared, "a").await;
    let calls = (0..400).map(|n| {
        let bus = bus.clone();
        async move { bus.publish(&[announcement("a", n)]).await.unwrap() }
    });
    futures::future::join_all(calls).await;
    let mut heard_numbers = std::collections::BTreeSet::new();
    while heard_numbers.len() < 400 {
        match reader.next().await {
            News::Number(n) => _ = heard_numbers.insert(n),
            News::Gap => panic!("nothing was lost"),
        }
    }
    let mut notifications = 0;
    while let Ok(Some(notification)) =
        tokio::time::timeout(Duration::ZERO, wire.try_recv()).await.unwrap_or(Ok(None))
    {
        assert!(notification.payload().len() < 7_500);
        notifications += 1;
    }
    assert!((1..100).contains(&notifications), "{notifications} notifications for 400 calls");
    heard(&bus).await;
}
