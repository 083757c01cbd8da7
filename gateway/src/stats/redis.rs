//! Redis, as the processes that use it find it.

use mingle_proto::{
    Timestamp,
    gateway::v1 as pb,
    runtime::v1::{self as rt, CallKind},
};
use mingle_runtime::Role;

use super::{
    alerts::{ERRORS, HIT_RATE, LATENCY, MEMORY},
    calls::{Sum, kind},
    survey::{Node, Survey},
    system::figures,
};

const NAME: &str = "redis";

/// The ways of some processes to Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ways {
    working: u32,
    failing: u32,
    /// The slowest that works.
    latency_ms: Option<f64>,
}

impl Ways {
    fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        nodes.fold(Self::default(), |mut ways, node| {
            match (way(node).map(|server| server.round_trip_ms), declared(node)) {
                (Some(Some(took)), _) => {
                    ways.working += 1;
                    ways.latency_ms =
                        Some(ways.latency_ms.map_or(took, |slowest| slowest.max(took)));
                }
                (Some(None), _) | (None, Some(false)) => ways.failing += 1,
                (None, Some(true)) => ways.working += 1,
                (None, None) => {}
            }
            ways
        })
    }

    fn status(self) -> Option<&'static str> {
        match (self.working, self.failing) {
            (0, 0) => None,
            (_, 0) => Some("healthy"),
            (0, _) => Some("unavailable"),
            _ => Some("degraded"),
        }
    }
}

/// Redis, as a process sees it that uses it and answers.
fn way(node: &Node) -> Option<&rt::Server> {
    figures(node)?.servers.iter().find(|server| server.name == NAME)
}

/// Whether all of it that a process uses is well by its own word: all that one of
/// an older version tells.
fn declared(node: &Node) -> Option<bool> {
    let backends = node.said()?.backends.iter().filter(|backend| backend.kind == NAME);
    backends.map(rt::Backend::healthy).reduce(|one, other| one && other)
}

/// What the processes use, and how it is.
fn whole(survey: &Survey) -> (&'static str, &'static str) {
    let mut backends = survey.nodes.iter().filter_map(Node::said).flat_map(|said| &said.backends);
    match Ways::of(survey.nodes.iter()).status() {
        Some(status) => (NAME, status),
        None if backends.any(|backend| backend.kind == "memory") => ("memory", "healthy"),
        None => ("unknown", "unavailable"),
    }
}

/// Whether it works, for anybody.
pub(crate) fn health(survey: &Survey) -> pb::RedisHealth {
    let (backend, status) = whole(survey);
    let of_role = |role: &Role| {
        let nodes = || survey.nodes.iter().filter(|node| has(node, *role));
        let ways = Ways::of(nodes());
        pb::RoleRedis {
            role: role.to_string(),
            status: ways.status().unwrap_or("unknown").to_owned(),
            working: ways.working,
            failing: ways.failing,
            latency_ms: ways.latency_ms,
        }
    };
    let is_told = backend != "memory";
    let roles = Role::ALL.iter().filter(|role| is_told && role.uses(NAME)).map(of_role);
    pb::RedisHealth {
        looked_at: Some(Timestamp::from_millis(survey.at_ms)),
        status: status.to_owned(),
        backend: backend.to_owned(),
        latency_ms: Ways::of(survey.nodes.iter()).latency_ms,
        roles: roles.collect(),
    }
}

fn has(node: &Node, role: Role) -> bool {
    node.roles.iter().any(|of| of == role.name())
}

/// All that is known of it, for operators.
pub(crate) fn metrics(survey: &Survey) -> pb::RedisMetrics {
    let (backend, status) = whole(survey);
    let mut calls = Sum::default();
    for figures in survey.nodes.iter().filter_map(figures) {
        calls.add(figures, kind(CallKind::Redis));
    }
    let node = |node: &Node| {
        let way = way(node)?;
        Some(pb::NodeRedis {
            node_id: node.id.clone(),
            roles: node.roles.clone(),
            run_id: way.redis.as_ref().map(|said| said.run_id.clone()).unwrap_or_default(),
            round_trip_ms: way.round_trip_ms,
            failure: way.failure.clone(),
        })
    };
    let nodes = survey.nodes.iter().filter_map(node).collect();
    pb::RedisMetrics {
        looked_at: Some(Timestamp::from_millis(survey.at_ms)),
        status: status.to_owned(),
        backend: backend.to_owned(),
        servers: servers(survey),
        alerts: alerts(status, &calls),
        calls: Some(calls.stats()),
        nodes,
    }
}

fn alerts(status: &str, calls: &Sum) -> Vec<pb::Alert> {
    let (p99, failed) = (calls.quantile(0.99), calls.failed());
    if status == "unavailable" {
        let why = "no process reaches it";
        return vec![LATENCY.warn(p99, why), ERRORS.warn(failed, why)];
    }
    let none = "no calls in the last minutes";
    vec![LATENCY.judge(p99, none), ERRORS.judge(failed, none)]
}

/// Each server that a process is connected to, once.
fn servers(survey: &Survey) -> Vec<pb::RedisServer> {
    let mut said: Vec<&rt::RedisInfo> = Vec::new();
    for info in survey.nodes.iter().filter_map(|node| way(node)?.redis.as_ref()) {
        if said.iter().all(|other| other.run_id != info.run_id) {
            said.push(info);
        }
    }
    said.into_iter().map(server).collect()
}

fn server(info: &rt::RedisInfo) -> pb::RedisServer {
    let hit_rate = percent(info.keyspace_hits, total(info.keyspace_hits, info.keyspace_misses));
    let keyspace = |space: &rt::Keyspace| pb::RedisKeyspace {
        name: space.name.clone(),
        keys: space.keys,
        expires: space.expires,
    };
    let why = match info.max_memory_bytes {
        Some(0) => "maxmemory is not set",
        _ => "the server does not tell",
    };
    let used = percent(info.used_memory_bytes, info.max_memory_bytes);
    let lookups = "no key was looked up yet, or the server does not tell";
    pb::RedisServer {
        run_id: info.run_id.clone(),
        version: info.version.clone(),
        role: info.role.clone(),
        uptime_seconds: info.uptime_seconds,
        memory: Some(pb::RedisMemory {
            used_bytes: info.used_memory_bytes,
            peak_bytes: info.peak_memory_bytes,
            resident_bytes: info.resident_memory_bytes,
            max_bytes: info.max_memory_bytes,
            max_memory_policy: info.max_memory_policy.clone(),
            fragmentation_ratio: info.fragmentation_ratio.filter(|ratio| ratio.is_finite()),
        }),
        keyspace_hits: info.keyspace_hits,
        keyspace_misses: info.keyspace_misses,
        hit_rate,
        operations_per_second: info.operations_per_second,
        clients: Some(pb::RedisClients {
            connected: info.connected_clients,
            blocked: info.blocked_clients,
            max: info.max_clients,
            rejected: info.rejected_connections,
        }),
        keyspace: info.keyspace.iter().map(keyspace).collect(),
        evicted_keys: info.evicted_keys,
        expired_keys: info.expired_keys,
        commands: info.commands,
        error_replies: info.error_replies,
        alerts: vec![HIT_RATE.judge(hit_rate, lookups), MEMORY.judge(used, why)],
    }
}

fn total(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one?.checked_add(other?)
}

/// `part` of `whole`; `None` where there is no whole.
fn percent(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0)?;
    Some(part? as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of an older version, if it tells no round trip.
    fn chat(healthy: bool, round_trip_ms: Option<Option<f64>>) -> Node {
        let backend =
            rt::Backend { kind: NAME.to_owned(), healthy: Some(healthy), ..Default::default() };
        let server = |round_trip_ms| {
            let server = rt::Server { name: NAME.to_owned(), round_trip_ms, ..Default::default() };
            rt::Figures { servers: vec![server], ..Default::default() }
        };
        let said = rt::DescribeResponse {
            backends: vec![backend],
            figures: round_trip_ms.map(server),
            ..Default::default()
        };
        Node::up(said, String::new())
    }

    fn told(nodes: Vec<Node>) -> (String, String, Option<f64>) {
        let health = health(&Survey { nodes, ..Survey::default() });
        (health.backend, health.status, health.latency_ms)
    }

    #[test]
    fn who_tells_no_round_trip_is_believed_by_its_word() {
        let of = |status: &str, latency| (NAME.to_owned(), status.to_owned(), latency);
        let (new, cut) = (chat(true, Some(Some(2.0))), chat(true, Some(None)));
        assert_eq!(told(vec![chat(true, None)]), of("healthy", None));
        assert_eq!(told(vec![chat(false, None)]), of("unavailable", None));
        assert_eq!(told(vec![new, chat(false, None)]), of("degraded", Some(2.0)));
        assert_eq!(told(vec![cut]), of("unavailable", None), "its word is older than its try");
        let nobody = ("unknown".to_owned(), "unavailable".to_owned(), None);
        assert_eq!(told(Vec::new()), nobody);
    }

    #[test]
    fn memory_without_a_bound_and_rates_without_lookups_are_not_known() {
        let info = |hits, misses, max| rt::RedisInfo {
            used_memory_bytes: Some(90),
            max_memory_bytes: max,
            keyspace_hits: Some(hits),
            keyspace_misses: Some(misses),
            ..Default::default()
        };
        let told = |info: &rt::RedisInfo| {
            let alerts = server(info).alerts;
            let of = |alert: pb::Alert| (alert.name, alert.state, alert.why);
            alerts.into_iter().map(of).collect::<Vec<_>>()
        };
        let named = |name: &str, state: &str, why: &str| (name.into(), state.into(), why.into());
        let lookups = "no key was looked up yet, or the server does not tell";
        assert_eq!(
            told(&info(0, 0, Some(0))),
            [
                named("hitRate", "unknown", lookups),
                named("memory", "unknown", "maxmemory is not set"),
            ]
        );
        assert_eq!(
            told(&info(80, 20, Some(100))),
            [named("hitRate", "ok", ""), named("memory", "warn", ""),]
        );
        assert_eq!(
            told(&info(1, 9, None))[1],
            named("memory", "unknown", "the server does not tell")
        );
        assert_eq!(server(&info(80, 20, None)).hit_rate, Some(80.0));
    }
}
