//! What the processes cost and how fast they are.

use mingle_proto::{
    Timestamp,
    gateway::v1 as pb,
    runtime::v1::{CallKind, DescribeResponse, Figures},
};

use super::{
    calls::{Sum, kind, named},
    survey::Survey,
    system::{figures, level, node, unknown},
};

/// What a survey found, for any user.
pub(crate) fn performance(survey: &Survey) -> pb::PerformanceStats {
    let of_node = |it: &super::survey::Node| pb::NodePerformance {
        node: Some(node(it)),
        performance: it.said().and_then(|said| alone(said, survey.at_ms)),
    };
    let nodes: Vec<_> = survey.nodes.iter().map(of_node).collect();
    let all: Vec<_> = survey.nodes.iter().filter_map(figures).collect();
    pb::PerformanceStats {
        looked_at: Some(Timestamp::from_millis(survey.at_ms)),
        total: Some(total(&nodes, &all)),
        nodes,
        unknown: unknown(survey),
    }
}

/// One process; `None` of one that tells no figures.
fn alone(said: &DescribeResponse, at_ms: i64) -> Option<pb::Performance> {
    let figures = said.figures.as_ref()?;
    let process = figures.process;
    let age_ms = said.started_at.map(|started| at_ms.saturating_sub(started.millis()));
    let server = |name: &str| {
        let server = figures.servers.iter().find(|server| server.name == name);
        server.and_then(|server| server.round_trip_ms)
    };
    Some(pb::Performance {
        memory_bytes: process.map(|process| process.resident_bytes),
        cpu_seconds: process.map(|process| process.cpu_seconds),
        // Of a clock that is ahead of ours: it has just begun.
        uptime_seconds: age_ms.map(|age| u64::try_from(age / 1_000).unwrap_or(0)),
        threads: process.map(|process| process.threads),
        open_files: process.map(|process| process.open_files),
        sockets: level(figures, "sockets"),
        redis_round_trip_ms: server("redis"),
        database_round_trip_ms: server("database"),
        ..calls(&[figures])
    })
}

fn total(nodes: &[pb::NodePerformance], all: &[&Figures]) -> pb::Performance {
    let up = || nodes.iter().filter_map(|node| node.performance.as_ref());
    let sum = |of: fn(&pb::Performance) -> Option<u64>| up().filter_map(of).reduce(|a, b| a + b);
    let worst = |of: fn(&pb::Performance) -> Option<f64>| up().filter_map(of).reduce(f64::max);
    pb::Performance {
        memory_bytes: sum(|one| one.memory_bytes),
        cpu_seconds: up().filter_map(|one| one.cpu_seconds).reduce(|a, b| a + b),
        uptime_seconds: up().filter_map(|one| one.uptime_seconds).max(),
        threads: up().filter_map(|one| one.threads).reduce(|a, b| a + b),
        open_files: sum(|one| one.open_files),
        sockets: up().map(|one| one.sockets).sum(),
        redis_round_trip_ms: worst(|one| one.redis_round_trip_ms),
        database_round_trip_ms: worst(|one| one.database_round_trip_ms),
        ..calls(all)
    }
}

fn calls(all: &[&Figures]) -> pb::Performance {
    let sum = |is_it: &dyn Fn(&mingle_proto::runtime::v1::Calls) -> bool| {
        let mut sum = Sum::default();
        for figures in all {
            sum.add(figures, is_it);
        }
        Some(sum.stats())
    };
    pb::Performance {
        rpcs: sum(&kind(CallKind::Rpc)),
        redis: sum(&kind(CallKind::Redis)),
        database_begin: sum(&named(CallKind::Database, "begin")),
        database_commit: sum(&named(CallKind::Database, "commit")),
        ..Default::default()
    }
}
