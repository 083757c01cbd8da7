//! What a server says of itself, for whoever operates it.

use redis::RedisError;
use tokio::time::timeout;

use super::{client::Redis, fault};
use crate::{Error, ErrorKind, Result};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// `7.2.4`.
    pub version: String,
    /// `noeviction` and so on; `None` where the server does not tell.
    pub eviction: Option<String>,
    /// Why it takes no writes, where it tells.
    pub unwilling: Option<Unwilling>,
}

/// Why a server takes no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwilling {
    /// It follows another one.
    Replica,
    /// Its memory is used up (`maxmemory`).
    Memory,
    /// It could not save its data (`stop-writes-on-bgsave-error`).
    Saving,
}

impl Redis {
    /// Asks on a connection of its own.
    ///
    /// **Errors**: with what the server or the way to it said as source;
    /// `Timeout` after twice the time of a call.
    pub async fn inspect(&self) -> Result<Inspected> {
        let asking = async {
            let mut connection = self.client().get_multiplexed_async_connection().await?;
            let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
            Ok::<_, RedisError>(info)
        };
        let late = |_| Error::new(ErrorKind::Timeout, "redis connection");
        let info = timeout(self.patience() * 2, asking).await.map_err(late)?;
        let info = info.map_err(fault::error)?;
        let says = |name: &str| {
            let of_name = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            of_name.map(|value| value.trim().to_owned())
        };
        let version = says("redis_version").unwrap_or_default();
        let is = |name, value: &str| says(name).as_deref() == Some(value);
        let bytes = |name| says(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (used, most) = (bytes("used_memory"), bytes("maxmemory"));
        let unwilling = if is("role", "slave") {
            Some(Unwilling::Replica)
        } else if most > 0 && used >= most {
            Some(Unwilling::Memory)
        } else if is("rdb_last_bgsave_status", "err") || is("aof_last_write_status", "err") {
            Some(Unwilling::Saving)
        } else {
            None
        };
        Ok(Inspected { version, eviction: says("maxmemory_policy"), unwilling })
    }
}
