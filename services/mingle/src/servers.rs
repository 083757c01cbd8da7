//! The servers that this process uses, as its figures tell of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use mingle_proto::runtime::v1 as pb;
use mingle_runtime::figures::Ask;
use mingle_store::{Database, Error, redis::Redis};

/// Databases of one Redis that are told.
const MAX_KEYSPACES: u32 = 16;

/// Redis, as the process of this id reaches it.
pub(crate) struct RedisServer {
    pub(crate) redis: Redis,
    pub(crate) node_id: Arc<str>,
}

#[async_trait]
impl Ask for RedisServer {
    fn names(&self) -> (&'static str, &'static str) {
        ("redis", "redis")
    }

    async fn ask(&self) -> pb::Server {
        let took = self.redis.round_trip(&self.node_id).await;
        let info = match &took {
            Ok(_) => self.redis.info().await.ok(),
            Err(_) => None,
        };
        let said = info.map(|info| {
            let text = |name: &str| info.get::<String>(name);
            read(&text)
        });
        pb::Server { redis: said, ..told(self.names(), took) }
    }
}

/// The truth.
pub(crate) struct DatabaseServer(pub(crate) Database);

#[async_trait]
impl Ask for DatabaseServer {
    fn names(&self) -> (&'static str, &'static str) {
        match &self.0 {
            Database::Sqlite(_) => ("database", "sqlite"),
            Database::Postgres(_) => ("database", "postgresql"),
        }
    }

    async fn ask(&self) -> pb::Server {
        let begun = Instant::now();
        // A BEGIN is an answer of the server, by any pooler that is between.
        let answer = self.0.snapshot().await.map(drop);
        told(self.names(), answer.map(|()| begun.elapsed()))
    }
}

fn told((name, kind): (&str, &str), took: Result<Duration, Error>) -> pb::Server {
    let failure = took.as_ref().err().map(|error| failure(error).to_owned());
    pb::Server {
        name: name.to_owned(),
        kind: kind.to_owned(),
        round_trip_ms: took.ok().map(|took| took.as_secs_f64() * 1e3),
        failure: failure.unwrap_or_default(),
        redis: None,
    }
}

fn failure(error: &Error) -> &'static str {
    use mingle_store::ErrorKind as Kind;

    match error.kind() {
        Kind::Unavailable => "unavailable",
        Kind::Timeout => "timeout",
        Kind::Corrupt => "corrupt",
        Kind::Conflict | Kind::Unsupported => "unsupported",
    }
}

/// What INFO says, by the names that Redis, Valkey and their like have for it.
fn read(text: &dyn Fn(&str) -> Option<String>) -> pb::RedisInfo {
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    let word = |name: &str| text(name).unwrap_or_default();
    let spaces = (0..MAX_KEYSPACES).filter_map(|at| {
        let name = format!("db{at}");
        Some(keyspace(&text(&name)?, name))
    });
    pb::RedisInfo {
        run_id: word("run_id"),
        version: word("redis_version"),
        role: word("role"),
        uptime_seconds: number("uptime_in_seconds"),
        used_memory_bytes: number("used_memory"),
        peak_memory_bytes: number("used_memory_peak"),
        resident_memory_bytes: number("used_memory_rss"),
        max_memory_bytes: number("maxmemory"),
        max_memory_policy: word("maxmemory_policy"),
        fragmentation_ratio: text("mem_fragmentation_ratio").and_then(|text| text.parse().ok()),
        connected_clients: number("connected_clients"),
        blocked_clients: number("blocked_clients"),
        max_clients: number("maxclients"),
        operations_per_second: number("instantaneous_ops_per_sec"),
        keyspace_hits: number("keyspace_hits"),
        keyspace_misses: number("keyspace_misses"),
        evicted_keys: number("evicted_keys"),
        expired_keys: number("expired_keys"),
        rejected_connections: number("rejected_connections"),
        commands: number("total_commands_processed"),
        error_replies: number("total_error_replies"),
        keyspace: spaces.collect(),
    }
}

/// `keys=3,expires=1,avg_ttl=0`
fn keyspace(said: &str, name: String) -> pb::Keyspace {
    let of = |which: &str| {
        let mut parts = said.split(',').filter_map(|part| part.split_once('='));
        parts.find(|(name, _)| *name == which).and_then(|(_, count)| count.parse().ok())
    };
    let (keys, expires) = (of("keys").unwrap_or(0), of("expires").unwrap_or(0));
    pb::Keyspace { name, keys, expires }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_tell_is_absent() {
        let said = |name: &str| {
            let value = match name {
                "redis_version" => "7.2.4",
                "used_memory" => "1048576",
                "mem_fragmentation_ratio" => "1.25",
                "maxmemory" => "0",
                "db3" => "keys=12,expires=7,avg_ttl=100,subexpiry=0",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let read = read(&said);
        assert_eq!((read.version.as_str(), read.used_memory_bytes), ("7.2.4", Some(1_048_576)));
        assert_eq!((read.fragmentation_ratio, read.max_memory_bytes), (Some(1.25), Some(0)));
        assert_eq!((read.keyspace_hits, read.connected_clients), (None, None));
        let db3 = pb::Keyspace { name: "db3".to_owned(), keys: 12, expires: 7 };
        assert_eq!(read.keyspace, [db3]);
    }
}
