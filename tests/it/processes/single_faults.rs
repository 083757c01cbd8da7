//! One fault at a time under people who meet and talk: what they are told, how
//! long they wait, and that nothing is lost. A soak run measures every fault and
//! writes the table of `deploy/README.md`; else one of them shows that it works.

use std::{
    fmt::Write as _, future::pending, path::PathBuf, sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use mingle_testkit::{Fault, To};
use tokio::time::{Instant, timeout};

use super::{
    plan,
    strangers::{Report, Strangers},
};
use crate::{
    checker::{Figures, What, figures},
    ledger::Ledger,
    nemesis::{self, Harm, Step, Target},
};

const PEOPLE: usize = 60;
/// How long a fault lasts: shorter than what makes users of a gateway offline.
const LASTS: Duration = Duration::from_secs(10);
/// Before a fault.
const BEFORE: Duration = Duration::from_secs(5);
/// How long after it people are still looked at.
const AFTER: Duration = Duration::from_secs(10);

/// What a charge waits, as it is by default: the kit waits longer.
const PATIENCE: &[(&str, &str)] =
    &[("MINGLE_PEERS__RATELIMIT_DEADLINE_MS", "20"), ("MINGLE_RATELIMIT__TIMEOUT_MS", "10")];

/// What is harmed, how, and how the table names it.
type Case = (&'static str, &'static str, Option<(Target, Harm)>);

const CASES: &[Case] = &[
    ("chat (1 of 2)", "kill -9, back after 10 s", kill("chat")),
    ("nothing", "none", None),
    ("chat (1 of 2)", "stopped for 10 s", stop("chat")),
    ("matchmaking (1 of 2)", "kill -9, back after 10 s", kill("matchmaking")),
    ("matchmaking (1 of 2)", "stopped for 10 s", stop("matchmaking")),
    ("gateway (1 of 2)", "kill -9, back after 10 s", kill("gateway")),
    ("gateway (1 of 2)", "stopped for 10 s", stop("gateway")),
    ("presence (the only one)", "kill -9, back after 10 s", kill("presence")),
    ("presence (the only one)", "stopped for 10 s", stop("presence")),
    ("ratelimit (the only one)", "kill -9, back after 10 s", kill("ratelimit")),
    ("ratelimit (the only one)", "stopped for 10 s", stop("ratelimit")),
    ("Redis", "kill -9, back with its data after 10 s", Some((Target::Redis, Harm::Kill))),
    ("Redis", "kill -9, back empty after 10 s", Some((Target::Redis, Harm::Empty))),
    ("Redis", "stopped for 10 s", Some((Target::Redis, Harm::Stop))),
    ("PostgreSQL", "kill -9, back after 10 s", Some((Target::Postgres, Harm::Kill))),
    ("PostgreSQL", "stopped for 10 s", Some((Target::Postgres, Harm::Stop))),
    (
        "chat (1 of 2) to PostgreSQL",
        "connections reset for 10 s",
        way("chat", To::Postgres, Fault::Cut),
    ),
    ("chat (1 of 2) to PostgreSQL", "silent for 10 s", way("chat", To::Postgres, Fault::Silent)),
    ("chat (1 of 2) to Redis", "silent for 10 s", way("chat", To::Redis, Fault::Silent)),
    (
        "gateway (1 of 2) to chat (1 of 2)",
        "silent for 10 s",
        way("gateway", To::Peer("chat", 0), Fault::Silent),
    ),
];

const fn kill(role: &'static str) -> Option<(Target, Harm)> {
    Some((Target::Process(role, 0), Harm::Kill))
}

const fn stop(role: &'static str) -> Option<(Target, Harm)> {
    Some((Target::Process(role, 0), Harm::Stop))
}

const fn way(role: &'static str, to: To, fault: Fault) -> Option<(Target, Harm)> {
    Some((Target::Way(role, 0, to), Harm::Fault(fault)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_fault_costs_waiting_and_nothing_else() {
    let is_soak = std::env::var_os("MINGLE_SOAK").is_some();
    let cases = if is_soak { CASES } else { &CASES[..1] };
    let mut table = HEAD.to_owned();
    for case in cases {
        let figures = measure(case).await;
        let row = row(case, &figures);
        eprint!("{row}");
        table.push_str(&row);
    }
    if is_soak && let Some(folder) = std::env::var_os("MINGLE_TEST_OUTPUT") {
        std::fs::write(PathBuf::from(folder).join("single-faults.md"), &table).unwrap();
    }
    eprintln!("{table}");
}

/// One deployment, one fault; fails when anything is lost.
async fn measure((what, how, harm): &Case) -> Figures {
    let seed = nemesis::seed();
    eprintln!("{what}: {how}; MINGLE_TEST_SEED={seed}");
    let plan = PATIENCE.iter().fold(plan(), |plan, (key, value)| plan.env(key, *value));
    let mut deployment = plan.own_postgres().ways().start().await;
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let people = Strangers::start(&deployment, (PEOPLE, false), seed).await;
    let _ = timeout(BEFORE, pending::<()>()).await;
    let step = |(target, harm)| Step { at: Duration::ZERO, lasts: LASTS, target, harm };
    let steps: Vec<_> = harm.map(step).into_iter().collect();
    let begin = Instant::now();
    let done = nemesis::run(&mut deployment, &steps, |trouble| people.trouble(trouble)).await;
    deployment.start().await;
    let _ = timeout(AFTER, pending::<()>()).await;
    let end = Instant::now();
    let mut report = people.end(&deployment, &ledger).await;
    report.verdict.0.extend(Report::fallen(&mut deployment));
    report.assert_holds(seed, &steps);
    assert_eq!(done.kills + done.stops + done.faults, steps.len());
    // Without PostgreSQL nothing is acknowledged, and everybody tries again.
    let tried = report.tally.in_trouble.load(Relaxed) + report.tally.retried.load(Relaxed);
    assert!(steps.is_empty() || tried > 0, "nothing was said during the fault");
    let figures = figures(&report.journals, (begin, end));
    assert!(!figures.longest.is_empty(), "nobody waited for anything");
    figures
}

const HEAD: &str = "\
| what | fault | users are told (times) | connect | send | hear | join | match | read | presence | lost |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// The longest waits in seconds, and what failed.
fn row((what, how, _): &Case, figures: &Figures) -> String {
    let told: Vec<_> =
        figures.failures.iter().map(|(word, times)| format!("{word} ({times})")).collect();
    let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
    let mut row = format!("| {what} | {how} | {told} |");
    let kinds =
        [What::Connect, What::Say, What::Hear, What::Join, What::Match, What::Read, What::See];
    for kind in kinds {
        let longest = figures.longest.get(&kind);
        let longest = longest.map_or("–".to_owned(), |it| format!("{:.1}", it.as_secs_f32()));
        let _ = write!(row, " {longest} |");
    }
    row + " nothing |\n"
}
