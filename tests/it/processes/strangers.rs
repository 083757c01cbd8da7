//! Strangers in number over a deployment, from their first hello to the verdict
//! about all that they did, and what is printed of it.

use std::{
    fmt::Write as _,
    fs,
    future::pending,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mingle_testkit::{Deployment, eventually};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    checker::{self, Crowd, Journal, Manner, Person, Phase, Tally, Verdict, Violation},
    ledger::Ledger,
    nemesis::Step,
    world::SOON,
};

/// Between two things that one does.
const PACE: Duration = Duration::from_secs(2);
/// After this nothing of the past shows in who is there.
const QUIET: Duration = Duration::from_secs(15);
const PRESENCE: &str = "presence is the truth 15 s after quiet";

/// The people of a run.
pub(super) struct Strangers {
    crowd: Crowd,
    begin: Instant,
}

/// What came of it.
pub(super) struct Report {
    pub(super) verdict: Verdict,
    pub(super) tally: Arc<Tally>,
    pub(super) journals: Vec<Journal>,
    begin: Instant,
}

impl Strangers {
    /// So many people begin to meet; returns when they talk.
    pub(super) async fn start(
        deployment: &Deployment,
        (people, mishaps): (usize, bool),
        seed: u64,
    ) -> Self {
        let manner = Manner { pace: PACE, mishaps };
        let (mut crowd, begin) = (Crowd::new(), Instant::now());
        for at in 0..people {
            let (name, seed) = (format!("user-{at}"), seed.wrapping_add(at as u64));
            let tally = crowd.tally.clone();
            let person = Person::new(&name, deployment.gateways(), seed, tally);
            crowd.add(|phase| checker::live(person, manner, phase));
        }
        let tally = &crowd.tally;
        eventually(SOON * 2, "people talk", async || {
            tally.acknowledged.load(Relaxed) > people / 10
        })
        .await;
        eprintln!("{people} people talk after {:?}", begin.elapsed());
        Self { crowd, begin }
    }

    /// Whether anything is broken now.
    pub(super) fn trouble(&self, is_so: bool) {
        self.crowd.tally.trouble.store(is_so, Relaxed);
    }

    /// All is whole again: lets people come to rest, and compares.
    pub(super) async fn end(self, deployment: &Deployment, ledger: &Ledger) -> Report {
        let Self { crowd, begin } = self;
        let healed = Instant::now();
        eprintln!("the last fault is over {:?} after the first hello", healed - begin);
        crowd.tell(Phase::Settle);
        eventually(SOON * 2, "those who wait are matched", async || {
            let waiting = "select count(*) from mm_tickets where state = 'waiting'";
            let roomless = "select count(*) from mm_matches where room_id is null";
            ledger.count(waiting).await <= 1 && ledger.count(roomless).await == 0
        })
        .await;
        // Who is not told by then is found by name below.
        let told = eventually(SOON * 2, "those who are matched are told", async || {
            let matched = "select count(*) from mm_tickets where state = 'matched'";
            let matched = usize::try_from(ledger.count(matched).await).unwrap();
            crowd.tally.called.load(Relaxed) >= matched
        });
        let _ = timeout(SOON, told).await;
        crowd.quiet().await;
        let quiet = Instant::now();
        eprintln!("quiet {:?} after the last fault", quiet - healed);
        let (tally, gateways) = (crowd.tally.clone(), deployment.gateways());
        let _ = timeout_at(quiet + QUIET, pending::<()>()).await;
        let is_there = |user: &String| !tally.gone.lock().unwrap().contains(user);
        let users = (0..crowd.len()).map(|at| format!("user-{at}"));
        let users = users.map(|user| (user.clone(), is_there(&user))).collect();
        let wrong = checker::presences(&gateways, &users).await;
        let journals = crowd.end(ledger).await;
        let rows = ledger.rows().await;
        let mut verdict = checker::check(&journals, &rows);
        verdict.0.extend(wrong.iter().map(|it| Violation::new(PRESENCE, format!("{it:?}"))));
        verdict.0.extend(checker::histories(&gateways, &journals, &rows).await);
        eprintln!("compared {:?} after that", quiet.elapsed());
        Report { verdict, tally, journals, begin }
    }
}

impl Report {
    /// Processes that did not live through it.
    pub(super) fn fallen(deployment: &mut Deployment) -> Vec<Violation> {
        let fallen = deployment.fallen().into_iter();
        fallen.map(|what| Violation::new("no process ends or panics", what)).collect()
    }

    /// Fails with the seed, the schedule and what differs, and keeps the
    /// journals for who looks for the cause.
    pub(super) fn assert_holds(&self, seed: u64, steps: &[Step]) {
        eprintln!("{:?}", self.tally);
        if self.verdict.0.is_empty() {
            return;
        }
        let steps: String = steps.iter().fold(String::new(), |mut all, step| {
            let _ = writeln!(all, "{step}");
            all
        });
        let kept = self.keep(seed, &steps);
        panic!(
            "MINGLE_TEST_SEED={seed} repeats it; journals: {}\n{steps}{}",
            kept.display(),
            self.verdict
        );
    }

    /// Something met the faults, and was not stopped by them.
    pub(super) fn assert_troubled(&self) {
        let Tally { in_trouble, retried, resumed, degraded, matched, .. } = &*self.tally;
        for (what, count) in [
            ("messages acknowledged during faults", in_trouble),
            ("requests made again", retried),
            ("sessions resumed", resumed),
            ("degraded replies", degraded),
            ("matches", matched),
        ] {
            assert!(count.load(Relaxed) > 0, "no {what}");
        }
    }

    /// All journals in one file, in the order of time, beside the schedule.
    fn keep(&self, seed: u64, steps: &str) -> PathBuf {
        let folder =
            std::env::var_os("MINGLE_TEST_OUTPUT").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = folder.join(format!("chaos-{seed}.log"));
        let lines = self.journals.iter().flat_map(|journal| {
            journal.lines.iter().map(|(at, what)| (*at, journal.user.as_str(), what.as_str()))
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        let mut text = format!("{steps}\n{}\n", self.verdict);
        for (at, user, what) in lines {
            let at = at.saturating_duration_since(self.begin).as_secs_f32();
            let _ = writeln!(text, "{at:8.3} {user} {what}");
        }
        fs::write(&path, text).unwrap();
        path
    }
}
