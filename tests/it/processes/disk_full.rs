//! Disks without room, under pairs who talk: what is refused says so, nothing
//! that was acknowledged is missing, and it goes on when there is room.

use std::time::Duration;

use mingle_testkit::{Disk, Part, Postgres, eventually};

use super::{
    pairs::{Load, Talk, refusals},
    plan,
};
use crate::{
    ledger::Ledger,
    world::{SOON, World},
};

const LOAD: Load = (10, Duration::from_millis(50));
/// Messages acknowledged before and after, and refusals in between.
const SOME: usize = 200;
/// Of the embedded database and its log.
const MEGABYTES: u32 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_sqlite_refuses_sends_and_loses_none() {
    let disk = Disk::of(MEGABYTES);
    let world = World::from(World::builder().data_dir(disk.path().join("data"))).await;
    let ledger = world.ledger().await;
    let talk = Talk::around(vec![world.http()], LOAD).await;
    talk.goes_on(SOME).await;
    for _ in 0..2 {
        talk.is_refused(SOME, || disk.fill()).await;
        let room = ledger.heads().await.into_keys().next().unwrap();
        let log = ledger.room(&room).await;
        let said = world.history(&log[0].actor, &room).await;
        assert!(!said.is_empty(), "what was said can be read");
        disk.free();
        talk.goes_on(SOME).await;
    }
    let refusals = refusals(&talk.end(&ledger).await);
    assert!(refusals.contains_key("UNAVAILABLE"), "{refusals:?}");
    let log = world.mingle().log();
    assert!(!log.contains("panic"), "{log}");
    assert!(log.contains("database or disk is full"), "whoever runs it is told: {log}");
}

/// A log that cannot be written ends the server, which whoever supervises it
/// starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_postgresqls_log_is_a_crash_that_loses_nothing() {
    let log = full_disk(Disk::of(24), Part::Log).await;
    assert!(log.contains("PANIC") && log.contains("No space left on device"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_postgresqls_tables_refuses_sends_and_loses_none() {
    let log = full_disk(Disk::of(72), Part::Tables).await;
    assert!(log.contains("could not extend file"), "{log}");
}

/// What the server logged.
async fn full_disk(disk: Disk, part: Part) -> String {
    let server = Postgres::start_on(&disk, part).await;
    let deployment = plan().postgres(server).start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::around(deployment.gateways(), LOAD).await;
    talk.goes_on(SOME).await;
    // What the server frees meanwhile is filled, too.
    talk.is_refused(SOME, || disk.fill()).await;
    disk.free();
    let (said, postgres) = (talk.acknowledged(), deployment.postgres().unwrap());
    eventually(SOON * 2, "the pairs talk again", async || {
        if !postgres.server().is_running() {
            postgres.restart().await;
        }
        talk.acknowledged() >= said + SOME
    })
    .await;
    ledger.close().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let refusals = refusals(&talk.end(&ledger).await);
    assert!(refusals.contains_key("UNAVAILABLE"), "{refusals:?}");
    postgres.server().log()
}
