//! Everything fails at random under people who meet and talk: processes are
//! killed and stopped, ways are cut, Redis and PostgreSQL go and come back.
//! Nobody loses a fact.
//!
//! `MINGLE_TEST_SEED` repeats a schedule and what people choose;
//! `MINGLE_TEST_SECONDS` sets how long things fail.

use std::time::Duration;

use super::{
    plan,
    strangers::{Report, Strangers},
};
use crate::{
    ledger::Ledger,
    nemesis::{self, Target},
};

const PEOPLE: usize = 300;
const SHAPE: &[(&str, usize)] = &[
    ("ratelimit", 1),
    ("cache", 1),
    ("presence", 1),
    ("chat", 2),
    ("matchmaking", 2),
    ("gateway", 3),
];
/// The most resident memory of any process at any time, in KiB: 37 to 45 MiB are
/// measured in a debug build after 90 s of it, and twice as much may wait in queues.
const PEAK_KIB: u64 = 128 * 1024;

/// How long things fail.
fn length() -> Duration {
    let named = std::env::var_os("MINGLE_TEST_SECONDS");
    let named = named.map(|it| it.to_str().and_then(|it| it.parse().ok()).expect("seconds"));
    let usual = if std::env::var_os("MINGLE_SOAK").is_some() { 30 * 60 } else { 90 };
    Duration::from_secs(named.unwrap_or(usual))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nobody_loses_a_fact() {
    let seed = nemesis::seed();
    let steps = nemesis::draw_all(seed, length(), SHAPE);
    eprintln!("MINGLE_TEST_SEED={seed}, {} faults in {:?}", steps.len(), length());
    let plan = plan().own_postgres().ways().count("gateway", 3);
    let mut deployment = plan.start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let people = Strangers::start(&deployment, (PEOPLE, true), seed).await;
    let done = nemesis::run(&mut deployment, &steps, |trouble| people.trouble(trouble)).await;
    deployment.start().await;
    let mut report = people.end(&deployment, &ledger).await;
    report.verdict.0.extend(Report::fallen(&mut deployment));
    eprintln!("{} kills, {} stops, {} faults of ways", done.kills, done.stops, done.faults);
    report.assert_holds(seed, &steps);
    for step in &steps {
        if let Target::Way(role, nth, to) = step.target {
            let traffic = deployment.way(role, nth, to).traffic();
            assert!(traffic.to_server > 0, "nobody goes that way: {step}");
        }
    }
    let peaks = deployment.running().map(|(role, process)| (role, process.peak_kib()));
    for (role, kib) in peaks.chain([("one that was killed", done.peak_kib)]) {
        eprintln!("{role}: {} MiB", kib / 1024);
        assert!(kib < PEAK_KIB, "{role}: {kib} KiB");
    }
    let pages = report.journals.iter().map(|journal| journal.pages.len()).sum::<usize>();
    eprintln!("{pages} pages of the past were read");
    assert!(pages > 0, "nobody read of the past");
    assert!(done.kills > 0 && done.stops > 0 && done.faults > 0, "{done:?}");
    report.assert_troubled();
}
