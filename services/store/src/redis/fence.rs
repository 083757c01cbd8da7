//! Which life of the server's data this is.

use std::fmt;

use redis::{RedisResult, aio::MultiplexedConnection};

use super::client::key;

const COMPARE: &str = include_str!("lua/fence.lua");

/// Names one uninterrupted life of the server's data. Another generation than
/// before: nothing read from the server before may be believed, and nothing
/// that should be there may be taken for gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation(String);

impl Generation {
    /// As it is stored: 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn random() -> String {
        format!("{:032x}", rand::random::<u128>())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares on a connection whose INFO answered `info`.
pub(super) async fn compare(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    info: &str,
) -> RedisResult<Generation> {
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(COMPARE).arg(1).arg(key(prefix, "fence", None));
    cmd.arg(run_id(info)).arg(Generation::random());
    cmd.query_async(connection).await.map(Generation)
}

/// A server that does not tell its run id can only be told by the key's
/// absence: then all are the same.
fn run_id(info: &str) -> &str {
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map_or("unknown", str::trim)
}
