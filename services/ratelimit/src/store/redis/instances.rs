//! Who counts on this server, and whether it counts.

use std::sync::Arc;

use mingle_store::{Error, ErrorKind, Result, redis::Generation};

use super::{RedisStore, scripts::BEAT};
use tokio::sync::watch;

use crate::{
    domain::{Algorithm, Ask, Limit, Outage},
    store::Store,
};

/// An instance that says nothing for so long counts no more.
pub(in crate::store) const LOST_MS: u64 = 5_000;
/// A charge that proves the server is over before the next one.
const PROOF_US: u64 = 100_000;

impl RedisStore {
    /// Says that `instance` lives, or that it leaves, and counts those that
    /// live.
    pub(in crate::store) async fn beat(&self, instance: &str, leaves: bool) -> Result<u64> {
        let keys = [self.redis.key("rl-instances", "1")];
        let args = [instance.into(), LOST_MS.into(), leaves.into()];
        self.redis.run::<u64>(&BEAT, &keys, &args).await
    }

    /// Tells of each new life of the server's data.
    pub(in crate::store) fn data(&self) -> watch::Receiver<Option<Generation>> {
        self.redis.fence()
    }

    /// The life of the server's data.
    pub(in crate::store) fn generation(&self) -> Option<Generation> {
        self.redis.fence().borrow().clone()
    }

    /// Makes a charge of its own, as whoever asks next would: it proves that
    /// the server answers, runs scripts, and takes writes to such keys.
    pub(in crate::store) async fn prove(&self, instance: &str) -> Result<()> {
        let limit = Limit {
            name: "proof".into(),
            algorithm: Algorithm::SlidingWindow,
            quota: 1,
            window_us: PROOF_US,
            burst: 1,
            outage: Outage::Open,
            shadow: true,
            parts: 1,
        };
        let ask = Ask {
            subject: format!("\0{instance}"),
            charge_id: "proof".to_owned(),
            is_new: false,
            cost: 1,
            limits: vec![Arc::new(limit)],
        };
        let unanswered = || Error::new(ErrorKind::Corrupt, "ratelimit answer");
        let answer = self.check(&[ask]).await.pop().ok_or_else(unanswered)??;
        if answer.verdict.is_allowed() { Ok(()) } else { Err(unanswered()) }
    }
}
