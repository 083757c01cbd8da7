//! The configuration of a process by its roles.

use std::path::Path;

use mingle_runtime::{
    Role,
    config::{Config, Environment, Problems, Section as _},
    grpc,
};

use crate::backends;

/// Each role once; all of them when none is named.
pub(crate) fn roles(mut roles: Vec<Role>) -> Vec<Role> {
    if roles.is_empty() {
        return Role::ALL.to_vec();
    }
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// The defaults of every crate, those of a role that is alone in its process,
/// and what goes over them.
pub(crate) fn config(file: Option<&Path>, roles: &[Role]) -> Result<Config, Problems> {
    config_in(file, roles, Environment::of_process())
}

/// The same in another environment than that of this process.
pub(crate) fn config_in(
    file: Option<&Path>,
    roles: &[Role],
    environment: Environment,
) -> Result<Config, Problems> {
    let ports = match roles {
        [alone] => format!(
            "[grpc]\nlisten = \"127.0.0.1:{}\"\n[probes]\nlisten = \"127.0.0.1:{}\"\n",
            alone.port(),
            alone.port() + 1000
        ),
        _ => String::new(),
    };
    let defaults = [
        grpc::Config::DEFAULTS,
        backends::DEFAULTS,
        mingle_cache::Config::DEFAULTS,
        mingle_ratelimit::Config::DEFAULTS,
        mingle_presence::Config::DEFAULTS,
        mingle_chat::Config::DEFAULTS,
        mingle_matchmaking::Config::DEFAULTS,
        mingle_gateway::Config::DEFAULTS,
        &ports,
    ];
    Config::load(&defaults, file, environment)
}
