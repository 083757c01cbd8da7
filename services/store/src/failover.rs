//! A primary with a secondary behind the same trait.
//!
//! A service implements its own store trait for `Failover<dyn Store>`, one
//! line a method through [`Failover::call`]. Only transient errors change the
//! way; a refusal of the primary is an answer.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    breaker::{Breaker, Policy},
};

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
        tokio::spawn(recover(primary.clone(), breaker.clone(), stop));
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

/// Probes an open breaker's primary once per cooldown and closes it.
async fn recover<S: Probe + ?Sized>(
    primary: Arc<S>,
    breaker: Arc<Breaker>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(breaker.cooldown());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if !breaker.is_open() {
            continue;
        }
        // A primary that hangs does not stop the next probe.
        let probed = tokio::time::timeout(breaker.cooldown(), primary.probe()).await;
        if matches!(probed, Ok(Ok(()))) {
            breaker.close();
        }
    }
}
