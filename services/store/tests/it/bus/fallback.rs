//! Two sources: either is enough, and processes that disagree about Redis
//! still meet.

use std::sync::Arc;

use mingle_store::bus::{Bus, Options, Servers};
use mingle_testkit::{Fault, Proxy, Redis, eventually};
use tokio::time::timeout;

use super::{
    reader::{News, PATIENCE, Reader, publish},
    stage::{QUICK, Stage, heard, settled, start},
};

#[tokio::test]
async fn either_server_may_freeze() {
    let stage = Stage::with_own_postgres().await;
    let servers = stage.on_both().await;
    let Servers::Both(redis, _) = servers.clone() else { panic!("both") };
    let (here, there) = (start(servers, QUICK).await, start(stage.on_both().await, QUICK).await);
    settled(&here).await;
    let (bus, other): (Arc<dyn Bus>, Arc<dyn Bus>) = (here.clone(), there.clone());
    let mut reader = Reader::of(&other, "a").await;

    stage.redis.freeze();
    publish(&bus, "a", 0..10).await;
    assert_eq!(reader.until(9).await, 0, "by PostgreSQL, before anyone noticed");
    eventually(PATIENCE, "the loss to be noticed", async || {
        here.sources().redis == Some(false) && there.sources().redis == Some(false)
    })
    .await;
    assert!(here.sources().doubled);
    publish(&bus, "a", 10..20).await;
    reader.until(19).await;

    stage.redis.thaw();
    for bus in [&here, &there] {
        heard(bus).await;
        settled(bus).await;
    }
    eventually(PATIENCE, "redis to take commands", async || redis.is_connected()).await;
    stage.own_postgres().freeze();
    publish(&bus, "a", 20..30).await;
    reader.until(29).await;
    stage.own_postgres().thaw();
}

#[tokio::test]
async fn a_process_without_redis_is_heard_and_hears() {
    let stage = Stage::open().await;
    let both = start(stage.on_both().await, QUICK).await;
    settled(&both).await;
    let rows = start(stage.on_postgres().await, QUICK).await;
    assert!(both.sources().doubled, "it was told, before the newcomer's gap");
    let (with, without): (Arc<dyn Bus>, Arc<dyn Bus>) = (both.clone(), rows.clone());
    let (mut one, mut other) = (Reader::of(&with, "a").await, Reader::of(&without, "b").await);
    publish(&without, "a", 0..10).await;
    one.expect(0..10).await;
    publish(&with, "b", 10..20).await;
    other.expect(10..20).await;
    rows.close().await;
    settled(&both).await;
}

#[tokio::test]
async fn a_process_that_loses_redis_alone_is_told_everything() {
    let stage = Stage::open().await;
    let here = start(stage.on_both().await, Options::default()).await;
    settled(&here).await;
    // It may do nothing but speak: its subscriptions are refused.
    let deaf_redis = {
        let set = ["ACL", "SETUSER", "deaf", "on", ">deaf", "~*", "&*", "+@all", "-subscribe"];
        assert_eq!(stage.redis.cli(&set), "OK");
        format!("redis://deaf:deaf@{}", stage.redis.address())
    };
    let there = stage.bus_with_redis(&deaf_redis).await;
    eventually(PATIENCE, "the others to know", async || here.sources().doubled).await;
    let (bus, other): (Arc<dyn Bus>, Arc<dyn Bus>) = (here.clone(), there.clone());
    let mut reader = Reader::of(&other, "a").await;
    publish(&bus, "a", 0..10).await;
    reader.until(9).await;
    assert_eq!(there.sources().redis, Some(false));
}

/// What ends the doubt of a lost Redis is a gap after the others were told: one
/// that comes before says nothing of what is published until then.
#[tokio::test]
async fn the_gap_of_a_lost_redis_waits_until_the_others_are_told() {
    let stage = Stage::open().await;
    let postgres = mingle_testkit::Postgres::shared().await;
    let (_, database) = stage.database().rsplit_once('/').unwrap();
    let proxy = Proxy::to(stage.redis.address()).await;
    let here = start(stage.on_both().await, QUICK).await;
    postgres.sql(database, "create role hoarse superuser login");
    let servers = stage.on_both_by(&stage.redis.url_by(proxy.address()), "hoarse").await;
    let there = start(servers, QUICK).await;
    settled(&here).await;
    settled(&there).await;
    let other: Arc<dyn Bus> = there.clone();
    let mut reader = Reader::of(&other, "a").await;

    // It hears all, and what it says is refused.
    let refuse = "create function public.pg_notify(text, text) returns void language plpgsql
                  as $$ begin raise 'hoarse'; end $$;
                  alter role hoarse set search_path = public, pg_catalog";
    let speaking = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                    where usename = 'hoarse' and query like '%pg_notify%'";
    postgres.sql(database, refuse);
    assert_eq!(postgres.sql(database, speaking), "1");
    proxy.set(Fault::Cut);
    eventually(PATIENCE, "redis is lost", async || there.sources().redis == Some(false)).await;
    let early = timeout(QUICK.beat * 10, reader.next()).await;
    assert!(early.is_err(), "nobody was told: {early:?}");
    postgres.sql(database, "drop function public.pg_notify(text, text)");
    assert_eq!(reader.next().await, News::Gap);
    assert_eq!(there.sources().redis, Some(false));
}

#[tokio::test]
async fn without_redis_from_the_start_everything_arrives_and_with_it_later() {
    let stage = Stage::open().await;
    stage.redis.kill();
    let here = stage.bus_on_both().await;
    let there = stage.bus_on_both().await;
    let (bus, other): (Arc<dyn Bus>, Arc<dyn Bus>) = (here.clone(), there.clone());
    eventually(PATIENCE, "postgres to be heard", async || {
        here.sources().postgres == Some(true) && there.sources().postgres == Some(true)
    })
    .await;
    let mut reader = Reader::of(&other, "a").await;
    publish(&bus, "a", 0..10).await;
    reader.until(9).await;
    stage.redis.restart().await;
    for bus in [&here, &there] {
        heard(bus).await;
        settled(bus).await;
    }
    let mut fresh = Reader::of(&other, "b").await;
    publish(&bus, "b", 0..10).await;
    fresh.expect(0..10).await;
    assert_eq!(reader.next().await, News::Gap, "that of redis being back");
}

#[tokio::test]
async fn processes_that_have_come_to_two_servers_meet_on_the_third() {
    let stage = Stage::open().await;
    let elsewhere = Redis::start().await;
    let here = start(stage.on_both().await, Options::default()).await;
    settled(&here).await;
    let there = stage.bus_with_redis(&elsewhere.url()).await;
    heard(&there).await;
    for bus in [&here, &there] {
        eventually(PATIENCE, "the other server to be noticed", async || bus.sources().doubled)
            .await;
    }
    let (bus, other): (Arc<dyn Bus>, Arc<dyn Bus>) = (here.clone(), there.clone());
    let (mut one, mut two) = (Reader::of(&other, "a").await, Reader::of(&bus, "b").await);
    publish(&bus, "a", 0..10).await;
    one.expect(0..10).await;
    publish(&other, "b", 0..10).await;
    two.expect(0..10).await;
    assert_eq!((here.sources().redis, there.sources().redis), (Some(true), Some(true)));
    there.close().await;
    settled(&here).await;
}
