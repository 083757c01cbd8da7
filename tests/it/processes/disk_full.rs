//! Disks without room, under pairs who talk: what is refused says so, nothing
//! that was acknowledged is missing, and it goes on when there is room.

use std::{
    collections::BTreeMap, net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration,
};

use mingle_testkit::{Disk, Part, Postgres, eventually};

use super::{pairs, plan};
use crate::{
    checker::{self, Crowd},
    ledger::Ledger,
    nemesis,
    world::{SOON, World},
};

const PAIRS: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);
/// Messages acknowledged before and after, and refusals in between.
const SOME: usize = 200;
/// Of the embedded database and its log.
const MEGABYTES: u32 = 24;

/// Pairs who talk until they are told that it is over.
pub(super) struct Talk(Crowd);

impl Talk {
    pub(super) async fn begin(gateways: &[SocketAddr]) -> Self {
        let seed = nemesis::seed();
        eprintln!("MINGLE_TEST_SEED={seed}");
        let gateways = [gateways.to_vec(), gateways.to_vec()];
        Self(pairs::talk_at((PAIRS, PAUSE), gateways, seed).await)
    }

    pub(super) async fn goes_on(&self) {
        let said = self.0.tally.acknowledged.load(Relaxed);
        eventually(SOON * 2, "the pairs talk", async || {
            self.0.tally.acknowledged.load(Relaxed) >= said + SOME
        })
        .await;
    }

    fn said(&self) -> usize {
        self.0.tally.acknowledged.load(Relaxed)
    }

    /// Requests have to be made again, while `again` goes on.
    pub(super) async fn is_refused(&self, again: impl Fn()) {
        let before = self.0.tally.retried.load(Relaxed);
        eventually(SOON * 2, "sends are refused", async || {
            again();
            self.0.tally.retried.load(Relaxed) >= before + SOME
        })
        .await;
    }

    /// Each acknowledged message is there once, and was heard by both; refusals
    /// said why, and there were some.
    pub(super) async fn assert_kept(self, ledger: &Ledger) {
        let failures = self.assert_undisturbed(ledger).await;
        assert!(failures.get("UNAVAILABLE").is_some_and(|refusals| *refusals > 0), "{failures:?}");
    }

    /// The same; there need be no refusal. Answers what was, by its reason.
    pub(super) async fn assert_undisturbed(self, ledger: &Ledger) -> BTreeMap<String, usize> {
        let tally = self.0.tally.clone();
        let journals = self.0.end(ledger).await;
        let verdict = checker::check(&journals, &ledger.rows().await);
        assert!(verdict.0.is_empty(), "{verdict}");
        let mut failures = BTreeMap::new();
        for (_, word) in journals.iter().flat_map(|journal| &journal.failures) {
            *failures.entry(word.clone()).or_default() += 1;
        }
        eprintln!("{} acknowledged, refused {failures:?}", tally.acknowledged.load(Relaxed));
        failures
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_sqlite_refuses_sends_and_loses_none() {
    let disk = Disk::of(MEGABYTES);
    let world = World::from(World::builder().data_dir(disk.path().join("data"))).await;
    let ledger = world.ledger().await;
    let talk = Talk::begin(&[world.http()]).await;
    talk.goes_on().await;
    for _ in 0..2 {
        talk.is_refused(|| disk.fill()).await;
        let room = ledger.heads().await.into_keys().next().unwrap();
        let log = ledger.room(&room).await;
        let said = world.history(&log[0].actor, &room).await;
        assert!(!said.is_empty(), "what was said can be read");
        disk.free();
        talk.goes_on().await;
    }
    talk.assert_kept(&ledger).await;
    let log = world.mingle().log();
    assert!(!log.contains("panic"), "{log}");
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
    let talk = Talk::begin(&deployment.gateways()).await;
    talk.goes_on().await;
    // What the server frees meanwhile is filled, too.
    talk.is_refused(|| disk.fill()).await;
    disk.free();
    let (said, postgres) = (talk.said(), deployment.postgres().unwrap());
    eventually(SOON * 2, "the pairs talk again", async || {
        if !postgres.server().is_running() {
            postgres.restart().await;
        }
        talk.said() >= said + SOME
    })
    .await;
    ledger.close().await;
    talk.assert_kept(&Ledger::postgres(&deployment.database().url).await).await;
    postgres.server().log()
}
