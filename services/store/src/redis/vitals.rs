//! Whether the way to Redis and back works, and what the server says of itself.

use std::time::Duration;

use redis::InfoDict;
use tokio::time::Instant;

use super::{batch::Batch, client::Redis};
use crate::{Error, ErrorKind, Result};

/// What is written to find out lives so long.
const TTL_MS: u64 = 10_000;

impl Redis {
    /// Writes a value under a key of `who`, reads it back, and says how long the
    /// two took: the way that every call goes, and not one of its own.
    ///
    /// **Errors**: those of a call; `Corrupt` when another value is read.
    pub async fn round_trip(&self, who: &str) -> Result<Duration> {
        let (key, value) = (self.key("vitals", who), rand::random::<u64>().to_string());
        let mut both = Batch::new();
        both.tell("SET").arg(&key).arg(&value).arg("PX").arg(TTL_MS);
        both.ask("GET").arg(&key);
        let begun = Instant::now();
        let (read,): (Option<String>,) = self.pipeline(&both).await?;
        let took = begun.elapsed();
        if read.as_ref() == Some(&value) {
            return Ok(took);
        }
        Err(Error::new(ErrorKind::Corrupt, "redis round trip"))
    }

    /// `INFO`: the sections that a server tells unasked.
    ///
    /// **Errors**: those of a call.
    pub async fn info(&self) -> Result<InfoDict> {
        self.query(&redis::cmd("INFO")).await
    }
}
