//! Asks a server what it is, for whoever operates it.

use futures::future::join_all;
use redis::{Client, RedisResult};
use tokio::time::timeout;

use super::{client::Redis, fault, said::Inspected};
use crate::{
    Error, ErrorKind, Result,
    clock::{Clock, Skew},
};

impl Redis {
    /// Asks on a connection of its own. Of a cluster every primary that is known, and
    /// the answer is of the one that is of the least use.
    ///
    /// **Errors**: with what a server or the way to it said as source, unless another
    /// is there that cannot be used; `Timeout` after twice the time of a call.
    pub async fn inspect(&self) -> Result<Inspected> {
        let asking = async {
            let (any, _) = self.find().await?;
            let primaries = self.cluster().map(|cluster| cluster.clients()).transpose()?;
            let primaries = primaries.filter(|all| !all.is_empty());
            let asked = primaries.unwrap_or_else(|| vec![any]);
            worst(join_all(asked.iter().map(|client| self.ask(client))).await)
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

fn worst(all: Vec<RedisResult<Inspected>>) -> RedisResult<Inspected> {
    let (mut worst, mut failed): (Option<Inspected>, _) = (None, None);
    for said in all {
        match said {
            Ok(said) if worst.as_ref().is_none_or(|worst| said.use_of() < worst.use_of()) => {
                worst = Some(said);
            }
            Ok(_) => {}
            Err(error) => failed = Some(error),
        }
    }
    match (worst, failed) {
        (Some(worst), None) => Ok(worst),
        (Some(worst), Some(_)) if worst.unfit.is_some() => Ok(worst),
        (_, failed) => Err(failed.unwrap_or_else(fault::silent)),
    }
}
