//! The step of the configuration: what a start of these roles decides on it.

use mingle_runtime::{
    Role,
    config::{Config, Problems},
    lifecycle::Process,
};

use super::{Found, State};
use crate::{backends::Plan, compose};

pub(super) fn check(config: &Config, roles: &[Role]) -> Found {
    match decide(config, roles) {
        Ok(plan) => told(&plan, &config.environment().strangers()),
        Err(problems) => {
            let each: Vec<_> = problems.each().collect();
            let remedy = "set it as README.md tells, or name the roles: mingle check ROLE…";
            Found::new(State::Fail, each.join("; "), remedy)
        }
    }
}

/// The log of a start warns of unknown variables too.
fn told(plan: &Plan, strangers: &[&str]) -> Found {
    let what = match plan {
        Plan::Embedded => "one process, on memory and a file",
        Plan::Shared(_) => "on servers that other processes may share",
        Plan::Nothing => "these roles keep nothing",
    };
    if strangers.is_empty() {
        return Found::ok(what);
    }
    let what = format!("{what}; nobody reads {}", strangers.join(", "));
    Found::new(State::Warn, what, "correct the name of the variable, or unset it")
}

fn decide(config: &Config, roles: &[Role]) -> Result<Plan, Problems> {
    let plan = Plan::of(config, roles)?;
    // A process on embedded backends makes the gateway's secrets by itself.
    let made = |role: &&Role| matches!(plan, Plan::Embedded) && **role == Role::Gateway;
    let asked: Vec<Role> = roles.iter().filter(|role| !made(role)).copied().collect();
    compose::check(config, &asked)?;
    Process::check(config, roles)?;
    Ok(plan)
}
