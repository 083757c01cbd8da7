//! The step of the configuration: what a start of these roles decides on it.

use mingle_runtime::config::Problems;

use super::{Asked, Found, Steps};
use crate::{
    backends::Plan,
    judge::{self, Judged},
};

pub(super) const STEP: &str = "configuration";

/// What a process of this configuration would open, if it can be known.
pub(super) async fn check(steps: Steps, asked: Asked<'_>) -> Option<Plan> {
    let Judged { plan, problems } = judge::judge(asked.config, asked.roles);
    steps.run(STEP, async { judged(asked, plan.as_ref(), &problems) }).await;
    plan
}

/// What is wrong with it.
pub(super) fn wrong(problems: &Problems) -> Found {
    let each: Vec<_> = problems.each().collect();
    let remedy = "set it as README.md tells, or name the roles: mingle check ROLE…";
    Found::fail(each.join("; "), remedy)
}

fn judged(asked: Asked<'_>, plan: Option<&Plan>, problems: &Problems) -> Found {
    let what = match plan {
        _ if problems.each().next().is_some() => return wrong(problems),
        None => return wrong(problems),
        Some(Plan::Embedded) => "one process, on memory and a file",
        Some(Plan::Shared(_)) => "on servers that other processes may share",
        Some(Plan::Nothing) => "these roles keep nothing",
    };
    // The log of a start warns of unknown variables too.
    match asked.config.environment().strangers().as_slice() {
        [] => Found::ok(what),
        strangers => Found::warn(
            format!("{what}; nobody reads {}", strangers.join(", ")),
            "correct the name of the variable, or unset it",
        ),
    }
}
