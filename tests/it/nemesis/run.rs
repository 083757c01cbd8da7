//! Carrying out a schedule.

use std::{future::pending, time::Duration};

use mingle_testkit::{Deployment, Fault};
use tokio::time::{Instant, timeout_at};

use super::schedule::{Harm, Step, Target};

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    /// Faults of ways.
    pub(crate) faults: usize,
    /// The most memory of any process that was killed, in KiB.
    pub(crate) peak_kib: u64,
}

/// Carries out all steps in their time; `trouble` is told whether anything is
/// broken. At the end Redis and PostgreSQL are ready; processes that were killed
/// have been started again, and need not be.
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
            end(deployment, step);
        }
        trouble(open > 0);
        let late = start.elapsed().saturating_sub(at);
        if late > Duration::from_secs(2) {
            eprintln!("{late:?} late: {step}");
        }
    }
    deployment.redis().ready().await;
    if let Some(postgres) = deployment.postgres() {
        postgres.ready().await;
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
            // One that fell before has none: the deployment tells of it.
            if deployment.process(role, nth).exited().is_none() {
                done.peak_kib = done.peak_kib.max(deployment.process(role, nth).peak_kib());
            }
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

/// Waits for nothing: what is to be thawed next must not be frozen for as long
/// as a server recovers.
fn end(deployment: &mut Deployment, step: &Step) {
    match (step.target, step.harm) {
        (Target::Process(role, nth), Harm::Kill) => deployment.respawn(role, nth),
        (Target::Process(role, nth), _) => deployment.process(role, nth).thaw(),
        (Target::Redis, Harm::Stop) => deployment.redis().thaw(),
        (Target::Redis, Harm::Empty) => deployment.redis().begin_empty(),
        (Target::Redis, _) => deployment.redis().begin(),
        (Target::Postgres, Harm::Stop) => deployment.postgres().unwrap().thaw(),
        (Target::Postgres, _) => deployment.postgres().unwrap().begin(),
        (Target::Way(role, nth, to), _) => deployment.way(role, nth, to).set(Fault::None),
    }
}
