//! Asks a server what it is, for whoever operates it.

use redis::RedisError;
use tokio::time::timeout;

use super::{client::Redis, fault, said::Inspected};
use crate::{
    Error, ErrorKind, Result,
    clock::{Clock, Skew},
};

impl Redis {
    /// Asks on a connection of its own.
    ///
    /// **Errors**: with what the server or the way to it said as source;
    /// `Timeout` after twice the time of a call.
    pub async fn inspect(&self) -> Result<Inspected> {
        let asking = async {
            let (client, _) = self.find().await?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
            Ok::<_, RedisError>(info)
        };
        let late = |_| Error::new(ErrorKind::Timeout, "redis connection");
        let info = timeout(self.patience() * 2, asking).await.map_err(late)?;
        Ok(Inspected::read(&info.map_err(fault::error)?, self.cluster().is_some()))
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
