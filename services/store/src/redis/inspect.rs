//! Asks a server what it is, for whoever operates it.

use futures::future::try_join_all;
use redis::{Client, RedisError, RedisResult};
use tokio::time::timeout;

use super::{client::Redis, fault, said::Inspected};
use crate::{
    Error, ErrorKind, Result,
    clock::{Clock, Skew},
};

impl Redis {
    /// Asks on a connection of its own. Of a cluster every primary that is known: it
    /// is the first that cannot be used, else that takes no writes, else any.
    ///
    /// **Errors**: with what a server or the way to it said as source;
    /// `Timeout` after twice the time of a call.
    pub async fn inspect(&self) -> Result<Inspected> {
        let asking = async {
            let (any, _) = self.find().await?;
            let primaries = self.cluster().map(|cluster| cluster.clients()).transpose()?;
            let primaries = primaries.filter(|all| !all.is_empty());
            let asked = primaries.unwrap_or_else(|| vec![any]);
            let mut said = try_join_all(asked.iter().map(|client| self.ask(client))).await?;
            said.sort_by_key(|it| (it.unfit.is_none(), it.unwilling.is_none()));
            Ok::<_, RedisError>(said.swap_remove(0))
        };
        let late = |_| Error::new(ErrorKind::Timeout, "redis connection");
        let said = timeout(self.patience() * 2, asking).await.map_err(late)?;
        said.map_err(fault::error)
    }

    async fn ask(&self, client: &Client) -> RedisResult<Inspected> {
        let mut connection = client.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let server = client.get_connection_info().addr().to_string();
        Ok(Inspected { server, ..Inspected::read(&info, self.cluster().is_some()) })
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
