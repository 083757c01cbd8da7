//! Carrying out a schedule.

use std::{future::pending, time::Duration};

use mingle_testkit::{Deployment, Fault};
use tokio::time::{Instant, timeout_at};

use super::schedule::{Harm, Step, Target};

/// Of the log of a process that ended.
const TAIL: usize = 20;

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    /// Faults of ways.
    pub(crate) faults: usize,
    /// Processes that ended by themselves, or panicked.
    pub(crate) fallen: Vec<String>,
}

/// Carries out all steps in their time; `trouble` is told whether anything is
/// broken. Processes that were killed have been started again at the end, and
/// need not be ready.
pub(crate) async fn run(
    deployment: &mut Deployment,
    steps: &[Step],
    trouble: impl Fn(bool),
) -> Done {
    let ends = steps.iter().map(|step| (step.end(), false, step));
    let mut moments: Vec<_> = steps.iter().map(|step| (step.at, true, step)).chain(ends).collect();
    moments.sort_by_key(|(at, begins, _)| (*at, *begins));
    let (start, mut done, mut open) = (Instant::now(), Done::default(), 0_usize);
    for (at, begins, step) in moments {
        let _ = timeout_at(start + at, pending::<()>()).await;
        if begins {
            open += 1;
            begin(deployment, step, &mut done);
        } else {
            open -= 1;
            end(deployment, step).await;
        }
        trouble(open > 0);
        let late = start.elapsed().saturating_sub(at);
        if late > Duration::from_secs(2) {
            eprintln!("{late:?} late: {step}");
        }
    }
    done
}

fn begin(deployment: &mut Deployment, step: &Step, done: &mut Done) {
    match step.harm {
        Harm::Kill | Harm::Empty => done.kills += 1,
        Harm::Stop => done.stops += 1,
        Harm::Fault(_) | Harm::Strand => done.faults += 1,
    }
    match (step.target, step.harm) {
        (Target::Process(role, nth), Harm::Kill) => {
            done.fallen.extend(fallen(deployment, role, nth));
            deployment.kill9(role, nth);
        }
        (Target::Process(role, nth), _) => deployment.process(role, nth).freeze(),
        (Target::Redis, Harm::Stop) => deployment.redis().freeze(),
        (Target::Redis, _) => deployment.redis().kill(),
        (Target::Postgres, Harm::Stop) => deployment.postgres().unwrap().freeze(),
        (Target::Postgres, _) => deployment.postgres().unwrap().kill(),
        (Target::Way(role, nth, to), Harm::Fault(fault)) => {
            deployment.way(role, nth, to).set(fault);
        }
        (Target::Way(role, nth, to), _) => deployment.way(role, nth, to).strand(),
    }
}

async fn end(deployment: &mut Deployment, step: &Step) {
    match (step.target, step.harm) {
        (Target::Process(role, nth), Harm::Kill) => deployment.respawn(role, nth),
        (Target::Process(role, nth), _) => deployment.process(role, nth).thaw(),
        (Target::Redis, Harm::Stop) => deployment.redis().thaw(),
        (Target::Redis, Harm::Empty) => deployment.redis().restart_empty().await,
        (Target::Redis, _) => deployment.redis().restart().await,
        (Target::Postgres, Harm::Stop) => deployment.postgres().unwrap().thaw(),
        (Target::Postgres, _) => deployment.postgres().unwrap().restart().await,
        (Target::Way(role, nth, to), _) => deployment.way(role, nth, to).set(Fault::None),
    }
}

/// Why a process is not as it should be.
pub(crate) fn fallen(deployment: &mut Deployment, role: &str, nth: usize) -> Option<String> {
    let process = deployment.process(role, nth);
    let (log, exited) = (process.log(), process.exited());
    if let Some(status) = exited {
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        return Some(format!("{role} {nth} ended by itself: {status}\n{tail}"));
    }
    let panicked = log.lines().find(|line| line.contains("panicked"));
    panicked.map(|line| format!("{role} {nth}: {line}"))
}
