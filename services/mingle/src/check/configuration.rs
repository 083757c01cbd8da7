//! The step of the configuration: what a start of these roles decides on it.

use mingle_runtime::{
    Role,
    config::{Config, Problems},
};

use super::{Found, State};
use crate::{backends::Plan, compose};

pub(super) fn check(config: &Config, roles: &[Role]) -> Found {
    match decide(config, roles) {
        Ok(Plan::Embedded) => Found::ok("one process, on memory and a file"),
        Ok(Plan::Shared(_)) => Found::ok("on servers that other processes may share"),
        Ok(Plan::Nothing) => Found::ok("these roles keep nothing"),
        Err(problems) => {
            let each: Vec<_> = problems.each().collect();
            let remedy = "set it as README.md tells, or name the roles: mingle check ROLE…";
            Found::new(State::Fail, each.join("; "), remedy)
        }
    }
}

fn decide(config: &Config, roles: &[Role]) -> Result<Plan, Problems> {
    let plan = Plan::of(config, roles)?;
    // A process on embedded backends makes the gateway's secrets by itself.
    let made = |role: &&Role| matches!(plan, Plan::Embedded) && **role == Role::Gateway;
    let asked: Vec<Role> = roles.iter().filter(|role| !made(role)).copied().collect();
    compose::check(config, &asked)?;
    Ok(plan)
}
