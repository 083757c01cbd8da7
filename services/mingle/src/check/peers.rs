//! The steps of the processes that these roles call.

use mingle_runtime::{
    Role,
    config::Problems,
    grpc::{
        self,
        remote::{Said, Seen},
    },
    peers,
};

use super::{Asked, Found, Steps};

/// A step for each role of other processes.
pub(super) async fn check(steps: Steps, asked: Asked<'_>) {
    let told = &mut Problems::default();
    let peers = asked.config.section::<peers::Config>(told);
    let grpc = asked.config.section::<grpc::Config>(told);
    let mut called = peers::Config::called(asked.roles);
    let (Some(peers), Some(grpc)) = (peers, grpc) else {
        return steps.skip(&["peers"], "see the configuration").await;
    };
    // They tell each other figures.
    if asked.roles.contains(&Role::Gateway) && peers.knows(Role::Gateway) {
        called.push(Role::Gateway);
    }
    if called.is_empty() {
        return steps.skip(&["peers"], "these roles call no other process").await;
    }
    for role in called {
        let step = async { judge(role, &peers.look(role, &grpc.internal_token).await) };
        steps.run(format!("peers {role}"), step).await;
    }
}

fn judge(role: Role, seen: &[Seen]) -> Found {
    if seen.is_empty() {
        return Found::skip("it has no address: see the configuration");
    }
    let count = seen.iter().filter(|seen| seen.said == Said::Well).count();
    let mut what = format!("{count} of {} answer", seen.len());
    for Seen { instance, said } in seen {
        match said {
            Said::Well => {}
            Said::NotServing => what += &format!("; {instance} starts, or ends"),
            Said::WrongToken => what += &format!("; {instance} refuses the internal token"),
            Said::OtherRoles(roles) => {
                what += &format!("; {instance} is no {role} but {}", roles.join(", "));
            }
            Said::Nothing(why) => what += &format!("; {instance}: {why}"),
        }
    }
    let variable = format!("MINGLE_PEERS__{}", role.name().to_uppercase());
    if seen.iter().any(|seen| seen.said == Said::WrongToken) {
        return Found::fail(what, "set MINGLE_INTERNAL_TOKEN to the same text for all processes");
    }
    if seen.iter().any(|seen| matches!(seen.said, Said::OtherRoles(_))) {
        return Found::fail(what, format!("see host and port of {variable}"));
    }
    if count == seen.len() {
        return Found::ok(what);
    }
    Found::warn(what, format!("start them, in any order, or see host and port of {variable}"))
}
