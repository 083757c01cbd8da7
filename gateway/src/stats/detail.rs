//! Everything, for operators.

use mingle_proto::{gateway::v1 as pb, runtime::v1 as rt};

use super::{
    calls::Sum,
    performance, redis,
    survey::{Node, Survey},
    system,
};

/// What a survey found, with addresses and details.
pub(crate) fn admin(survey: &Survey) -> pb::AdminStats {
    pb::AdminStats {
        system: Some(system::system(survey)),
        performance: Some(performance::performance(survey)),
        nodes: survey.nodes.iter().map(detail).collect(),
        redis: Some(redis::metrics(survey)),
    }
}

fn detail(node: &Node) -> pb::NodeDetail {
    let said = node.said();
    let backends = said.map(|said| said.backends.as_slice()).unwrap_or_default();
    let figures = said.and_then(|said| said.figures.clone()).unwrap_or_default();
    let named = |calls: &rt::Calls| pb::NamedCalls {
        kind: word(calls.kind()).to_owned(),
        name: calls.name.clone(),
        stats: Some(Sum::of(&figures, |other| std::ptr::eq(other, calls)).stats()),
    };
    let level = |level: &rt::Level| (level.name.clone(), level.count);
    pb::NodeDetail {
        node: Some(system::node(node)),
        address: node.address.clone(),
        backends: backends.iter().map(backend).collect(),
        calls: figures.calls.iter().map(named).collect(),
        levels: figures.levels.iter().map(level).collect(),
        servers: figures.servers.iter().map(server).collect(),
    }
}

fn word(kind: rt::CallKind) -> &'static str {
    match kind {
        rt::CallKind::Rpc => "rpc",
        rt::CallKind::Redis => "redis",
        rt::CallKind::Database => "database",
        rt::CallKind::Unspecified => "",
    }
}

fn backend(backend: &rt::Backend) -> pb::BackendView {
    pb::BackendView {
        name: backend.name.clone(),
        kind: backend.kind.clone(),
        healthy: backend.healthy(),
        detail: backend.detail.clone(),
    }
}

fn server(server: &rt::Server) -> pb::ServerView {
    pb::ServerView {
        name: server.name.clone(),
        kind: server.kind.clone(),
        round_trip_ms: server.round_trip_ms,
        failure: server.failure.clone(),
    }
}
