//! A primary with a secondary behind the same trait.
//!
//! A service implements its own store trait for `Failover<dyn Store>`, one
//! line a method through [`Failover::call`]. Only transient errors change the
//! way; a refusal of the primary is an answer. Where that does not fit, a
//! service has a [`Breaker`] of its own, kept true by [`watch`].

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    breaker::{Breaker, Policy},
};

/// Heartbeats in a row whose loss opens a breaker.
const MISSES: u32 = 2;

/// A store that can be asked whether it serves.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Does the least that proves that calls would succeed.
    async fn probe(&self) -> Result<()>;
}

/// An answer and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served<T> {
    /// The answer.
    pub value: T,
    /// True when the secondary gave it: mark the reply.
    pub degraded: bool,
}

/// Decorates `primary` with `secondary`.
pub struct Failover<S: ?Sized> {
    primary: Arc<S>,
    secondary: Arc<S>,
    breaker: Arc<Breaker>,
}

impl<S: Probe + ?Sized> Failover<S> {
    /// Serves from `primary` while it can. The probe runs until `stop`.
    pub fn start(
        name: &'static str,
        primary: Arc<S>,
        secondary: Arc<S>,
        policy: Policy,
        stop: CancellationToken,
    ) -> Self {
        let breaker = Arc::new(Breaker::new(name, policy));
        tokio::spawn(watch(primary.clone(), breaker.clone(), stop));
        Self { primary, secondary, breaker }
    }

    /// The breaker: its state is a gauge and a health entry.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// Runs `op` on the primary, or on the secondary while the primary is
    /// away. After a transient error of the primary the same `op` runs on the
    /// secondary, so it must be idempotent by its own key.
    pub async fn call<T, F>(&self, op: impl Fn(Arc<S>) -> F) -> Result<Served<T>>
    where
        F: Future<Output = Result<T>>,
    {
        if !self.breaker.is_open() {
            let result = op(self.primary.clone()).await;
            let failed = result.as_ref().is_err_and(crate::Error::is_transient);
            self.breaker.record(failed);
            if !failed {
                return result.map(|value| Served { value, degraded: false });
            }
        }
        let value = op(self.secondary.clone()).await?;
        Ok(Served { value, degraded: true })
    }
}

/// Keeps `breaker` true about `primary` until `stop`: one probe each cooldown.
/// While it is closed that is the primary's heartbeat, of which one may be
/// late: two failures in a row open it. While it is open the first success
/// closes it.
pub async fn watch<P: Probe + ?Sized>(
    primary: Arc<P>,
    breaker: Arc<Breaker>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(breaker.cooldown());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut missed = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // A primary that hangs does not stop the next probe.
        let probed = tokio::time::timeout(breaker.cooldown(), primary.probe()).await;
        if matches!(probed, Ok(Ok(()))) {
            missed = 0;
            breaker.close();
            continue;
        }
        missed = missed.saturating_add(1);
        if missed == MISSES {
            if let Ok(Err(error)) = probed {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(backend = breaker.name(), %error, cause, "no heartbeat");
            }
            breaker.open();
        }
    }
}
