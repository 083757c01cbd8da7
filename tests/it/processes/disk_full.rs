//! Disks without room, under pairs who talk: what is refused says so, nothing
//! that was acknowledged is missing, and it goes on when there is room.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use mingle_testkit::{Disk, eventually};

use super::pairs;
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

    /// Requests have to be made again.
    pub(super) async fn is_refused(&self) {
        let before = self.0.tally.retried.load(Relaxed);
        eventually(SOON * 2, "sends are refused", async || {
            self.0.tally.retried.load(Relaxed) >= before + SOME
        })
        .await;
    }

    /// Each acknowledged message is there once, and was heard by both; every
    /// refusal was one that passes.
    pub(super) async fn assert_kept(self, ledger: &Ledger) {
        let tally = self.0.tally.clone();
        let journals = self.0.end(ledger).await;
        let verdict = checker::check(&journals, &ledger.rows().await);
        assert!(verdict.0.is_empty(), "{verdict}");
        let mut failures = std::collections::BTreeMap::<&str, usize>::new();
        for (_, word) in journals.iter().flat_map(|journal| &journal.failures) {
            *failures.entry(word).or_default() += 1;
        }
        eprintln!("{} acknowledged, refused {failures:?}", tally.acknowledged.load(Relaxed));
        assert!(failures.get("UNAVAILABLE").is_some_and(|refusals| *refusals > 0), "{failures:?}");
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
        disk.fill();
        talk.is_refused().await;
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
