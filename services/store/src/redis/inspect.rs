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
        Ok(Inspected { version, eviction: says("maxmemory_policy") })
    }
}
