//! What a server says of itself, for whoever operates it.

use redis::RedisError;
use tokio::time::timeout;

use super::{client::Redis, fault};
use crate::{
    Error, ErrorKind, Result,
    clock::{Clock, Skew},
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// `7.2.4`.
    pub version: String,
    /// `noeviction` and so on; `None` where the server does not tell.
    pub eviction: Option<String>,
    /// What it keeps over its own restart; `None` where the server does not tell.
    pub keeps: Option<Keeps>,
    /// Why it takes no writes, where it tells.
    pub unwilling: Option<Unwilling>,
}

/// What a server keeps over its own restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing, as far as it has shown: it has written no snapshot since its start.
    Nothing,
    /// What was there at its last snapshot.
    Snapshots,
    /// What it acknowledged, but for the last second (`appendonly`).
    Writes,
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
        let number = |name| says(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (used, most) = (number("used_memory"), number("maxmemory"));
        let unwilling = if is("role", "slave") {
            Some(Unwilling::Replica)
        } else if most > 0 && used >= most {
            Some(Unwilling::Memory)
        } else if is("rdb_last_bgsave_status", "err") || is("aof_last_write_status", "err") {
            Some(Unwilling::Saving)
        } else {
            None
        };
        let keeps = says("aof_enabled").map(|enabled| match enabled.as_str() {
            "0" if number("rdb_saves") == 0 => Keeps::Nothing,
            "0" => Keeps::Snapshots,
            _ => Keeps::Writes,
        });
        Ok(Inspected { version, eviction: says("maxmemory_policy"), keeps, unwilling })
    }

    /// How far the server's clock is from `clock`.
    pub async fn skew(&self, clock: &dyn Clock) -> Result<Skew> {
        let asking = async {
            let (seconds, micros): (i64, i64) = self.query(&redis::cmd("TIME")).await?;
            Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000))
        };
        Skew::measure(clock, asking).await
    }
}
