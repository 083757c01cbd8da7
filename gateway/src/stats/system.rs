//! Who is there and what goes on.

use std::collections::{BTreeMap, HashMap};

use mingle_proto::{
    Timestamp,
    gateway::v1 as pb,
    runtime::v1::{CallKind, Figures},
};
use mingle_runtime::Role;

use super::{
    caches,
    calls::rate,
    survey::{Node, Survey},
};
use crate::http::status;

/// What a survey found, for any user.
pub(crate) fn system(survey: &Survey) -> pb::SystemStats {
    let online = survey.online.as_ref();
    let trouble = |(role, fault): (&str, &mingle_runtime::states::Fault)| pb::Trouble {
        role: role.to_owned(),
        status: status::of(Some(fault)).to_owned(),
        causes: fault.causes.iter().cloned().collect(),
    };
    let pool = |pool: &mingle_proto::matchmaking::v1::PoolSummary| {
        let stats = pool.stats.unwrap_or_default();
        pb::PoolView {
            pool: pool.pool.clone(),
            waiting: stats.waiting,
            matches_last_minute: stats.matches_last_minute,
            median_wait_ms: stats.median_wait_ms,
        }
    };
    pb::SystemStats {
        looked_at: Some(Timestamp::from_millis(survey.at_ms)),
        status: status::whole(survey.is_ready, &survey.states).to_owned(),
        troubles: survey.states.iter().map(trouble).collect(),
        online: online
            .map(|online| pb::PresenceCount { users: online.users, sessions: online.sessions }),
        pools: survey.pools.iter().map(pool).collect(),
        caches: caches::of(&survey.caches),
        traffic: Some(traffic(survey)),
        roles: Role::ALL.into_iter().map(|role| of_role(role, &survey.nodes)).collect(),
        nodes: survey.nodes.iter().map(node).collect(),
        unknown: unknown(survey),
    }
}

pub(super) fn unknown(survey: &Survey) -> Vec<String> {
    survey.unknown.iter().map(ToString::to_string).collect()
}

/// A process without where it is.
pub(super) fn node(node: &Node) -> pb::NodeView {
    let said = node.said();
    pb::NodeView {
        node_id: node.id.clone(),
        roles: node.roles.clone(),
        build: node.build.clone(),
        state: node.seen.name().to_owned(),
        started_at: said.and_then(|said| said.started_at),
        degraded: said.map(|said| said.degraded.clone()).unwrap_or_default(),
    }
}

pub(super) fn figures(node: &Node) -> Option<&Figures> {
    node.said()?.figures.as_ref()
}

/// How many of `name` a process has.
pub(super) fn level(figures: &Figures, name: &str) -> u64 {
    let named = figures.levels.iter().filter(|level| level.name == name);
    named.map(|level| level.count).sum()
}

fn of_role(role: Role, nodes: &[Node]) -> pb::RoleView {
    let mut builds = HashMap::new();
    let (mut up, mut missing) = (0, 0);
    for node in nodes.iter().filter(|node| node.roles.iter().any(|of| of == role.name())) {
        match node.said() {
            Some(_) => {
                up += 1;
                *builds.entry(node.build.clone()).or_default() += 1;
            }
            None => missing += 1,
        }
    }
    pb::RoleView { role: role.to_string(), up, missing, builds }
}

fn traffic(survey: &Survey) -> pb::Traffic {
    let mut rates = BTreeMap::<&str, f64>::new();
    let (mut sockets, mut followed_rooms) = (0, 0);
    for figures in survey.nodes.iter().filter_map(figures) {
        for calls in figures.calls.iter().filter(|calls| calls.kind() == CallKind::Rpc) {
            *rates.entry(&calls.name).or_default() += rate(calls.succeeded(), figures);
        }
        sockets += level(figures, "sockets");
        followed_rooms += level(figures, "rooms");
    }
    let per_second = |name: &str| rates.get(name).copied().unwrap_or(0.0);
    pb::Traffic {
        messages_per_second: per_second("ChatService/Send"),
        rooms_per_second: per_second("ChatService/CreateRoom"),
        joins_per_second: per_second("MatchmakingService/CreateTicket"),
        sockets,
        followed_rooms,
    }
}
