//! What is decided on a configuration before anything is opened: by every start,
//! and by whoever asks what a start would do.

use std::net::SocketAddr;

use mingle_runtime::{
    Role,
    config::{Config, Mode, Problems, Section},
    grpc,
    lifecycle::{DataConfig, ProbesConfig, Process},
};

use crate::{backends::Plan, secrets};

/// What comes of a configuration.
pub(crate) struct Judged {
    /// `None` where it cannot be known.
    pub(crate) plan: Option<Plan>,
    /// Everything that is wrong.
    pub(crate) problems: Problems,
}

impl Judged {
    /// The plan of a process that may start.
    pub(crate) fn into_plan(self) -> Result<Plan, Problems> {
        self.problems.into_result()?;
        // Whoever has no plan has said why.
        self.plan.ok_or_else(Problems::default)
    }
}

/// Judges a process of `roles`. Must be called where tasks can be spawned.
pub(crate) fn judge(config: &Config, roles: &[Role]) -> Judged {
    let mut problems = Problems::default();
    let plan = problems.take(Plan::of(config, roles));
    // Those that a start makes up, and those whose absence is told already.
    let is_made = matches!(plan, Some(Plan::Embedded)) && config.mode() == Mode::Development;
    let config = secrets::assumed(config.clone(), |key| is_made || problems.has(key));
    problems.take(check(&config, roles));
    problems.take(Process::check(&config, roles));
    Judged { plan, problems }
}

/// Reports the problems of every section at once; of the gateway's only where it
/// runs, since the users' secrets are not for everybody.
pub(crate) fn check(config: &Config, roles: &[Role]) -> Result<(), Problems> {
    fn one<S: Section>(config: &Config, problems: &mut Problems) {
        let _ = config.section::<S>(problems);
    }
    let mut problems = Problems::default();
    one::<DataConfig>(config, &mut problems);
    one::<mingle_cache::Config>(config, &mut problems);
    one::<mingle_ratelimit::Config>(config, &mut problems);
    one::<mingle_presence::Config>(config, &mut problems);
    one::<mingle_chat::Config>(config, &mut problems);
    one::<mingle_matchmaking::Config>(config, &mut problems);
    if roles.contains(&Role::Gateway) {
        one::<mingle_gateway::Config>(config, &mut problems);
    }
    let listeners = listeners(config, roles);
    for (at, (name, address)) in listeners.iter().enumerate() {
        if let Some((other, _)) = listeners[..at].iter().find(|(_, taken)| meet(taken, address)) {
            let why = format_args!("is {address}, where {other}.listen is too");
            problems.add(&format!("{name}.listen"), why);
        }
    }
    problems.into_result()
}

/// Where a process of `roles` listens, in the order of its start: section and
/// address. Those that cannot be read are left out.
pub(crate) fn listeners(config: &Config, roles: &[Role]) -> Vec<(&'static str, SocketAddr)> {
    let told = &mut Problems::default();
    let probes = config.section::<ProbesConfig>(told).map(|probes| ("probes", probes.listen));
    let grpc = config.section::<grpc::Config>(told).map(|grpc| ("grpc", grpc.listen));
    let mut all: Vec<_> = probes.into_iter().chain(grpc).collect();
    if roles.contains(&Role::Gateway) {
        let gateway = config.section::<mingle_gateway::Config>(told);
        all.extend(gateway.map(|gateway| ("gateway", gateway.listen)));
    }
    all
}

/// True for two addresses of which only one can be listened at. Port 0 is any.
fn meet(one: &SocketAddr, other: &SocketAddr) -> bool {
    let covers = |all: &SocketAddr, one: &SocketAddr| {
        all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
    };
    let is_same = one.ip() == other.ip() || covers(one, other) || covers(other, one);
    one.port() != 0 && one.port() == other.port() && is_same
}

#[cfg(test)]
mod tests {
    use super::meet;

    #[test]
    fn listeners_meet_where_one_stands_for_the_address_of_the_other() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("[::1]:1", "0.0.0.0:1", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(meet(&one, &other), expected, "{one} {other}");
            assert_eq!(meet(&other, &one), expected, "{other} {one}");
        }
    }
}
