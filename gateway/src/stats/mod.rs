//! How the deployment fares, as this gateway sees it.
//!
//! A [`Survey`] asks every process that is known, all at once; the other modules
//! say what it found in the form of one route each. What is not known is named.

mod alerts;
mod caches;
mod calls;
mod detail;
mod performance;
mod redis;
mod survey;
mod system;

use std::sync::Arc;

use mingle_runtime::{Context, fresh::Fresh};
use parking_lot::Mutex;

use self::survey::{Known, Survey};
use crate::Now;

pub(crate) use detail::admin;
pub(crate) use performance::performance;
pub(crate) use redis::{health, metrics};
pub(crate) use system::system;

/// The last survey.
pub(crate) struct Stats {
    ctx: Context,
    now: Now,
    fresh: Fresh<Arc<Survey>>,
    known: Arc<Mutex<Known>>,
}

impl Stats {
    /// Of the deployment that `ctx` leads to.
    pub(crate) fn new(ctx: &Context, now: Now) -> Self {
        let (fresh, known) = Default::default();
        Self { ctx: ctx.clone(), now, fresh, known }
    }

    /// What was found out within the last second, or is now.
    pub(crate) async fn look(&self) -> Arc<Survey> {
        let (ctx, now, known) = (self.ctx.clone(), self.now.clone(), self.known.clone());
        let made = self.fresh.get(|| async move { Arc::new(survey::look(ctx, now, known).await) });
        made.await.unwrap_or_default()
    }
}
