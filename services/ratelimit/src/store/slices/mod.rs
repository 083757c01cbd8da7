//! Slices: what a hot subject will use soon is taken ahead of time, and nobody asks Redis
//! about each of it.
//!
//! Who asks for what is neither repeated nor given back is answered out of what was taken
//! for the subject, while that lasts: 250 ms at most. It is charged as at its end, so that
//! each use counts for a whole window; what was not used is given back then. So nothing is
//! ever admitted beyond a limit, and the price is what nobody may use meanwhile: of what
//! is left at most one part of twice the instances, and of the last 20th nothing.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | the time is over, or this process was frozen since | nothing of it is used: Redis is asked |
//! | taking is not answered | who asked is decided alone; it may be charged, and ends with its window |
//! | giving back is not answered | it is not tried again, which could give back twice: it ends with its window |
//! | this process dies | the same |
//! | it drains | all is given back at once, and no more taken |
//! | Redis goes away | what was taken is used until its end |
//! | Redis loses what was charged, or somebody resets the subject | the same: for so long it is used besides |
//! | the limits are others by now | of the new ones nothing was taken: Redis is asked |
//! | more hot subjects than are known | those least asked about have none |

mod heat;
mod hot;
mod slice;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mingle_store::Result;
use moka::sync::Cache;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    alone::Alone,
    denials::Denials,
    redis::{RedisStore, Wanted},
};
use crate::domain::{Algorithm, Answer, Ask, Limit};
use heat::Heat;
pub(super) use hot::Hot;
pub(crate) use slice::describe;
use slice::{Ends, Slice};

/// Nothing that was taken is used for longer.
const LIFE: Duration = Duration::from_millis(250);
/// Asks within [`LIFE`] that make a subject hot.
const HOT: u64 = 25;
/// Subjects that may be hot at once.
const SUBJECTS: u64 = 1_024;
/// What one who asks waits for another who takes.
const PATIENCE: Duration = Duration::from_millis(2);

/// See the module.
pub(super) struct Slices {
    together: RedisStore,
    alone: Arc<Alone>,
    denials: Arc<Denials>,
    hot: Cache<String, Arc<Hot>>,
    heat: Heat,
    instances: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What is to be done about an ask.
pub(super) enum Found {
    /// It is answered.
    Taken(Answer),
    /// More than it is to be taken.
    Hot(Arc<Hot>),
    /// It is asked like any other.
    Cold,
}

impl Slices {
    /// Takes from `together`; until `stop`.
    pub(super) fn new(
        together: RedisStore,
        (alone, denials): (Arc<Alone>, Arc<Denials>),
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let hot = Cache::builder().max_capacity(SUBJECTS).time_to_idle(8 * LIFE).build();
        let instances = AtomicU64::new(1);
        Self { together, alone, denials, hot, heat: Heat::new(), instances, tasks, stop }
    }

    /// So many instances take of the same limits.
    pub(super) fn share(&self, instances: u64) {
        self.instances.store(instances.max(1), Ordering::Relaxed);
    }

    /// Answers an ask out of what was taken, if there is any.
    pub(super) fn find(&self, ask: &Ask) -> Found {
        if !suits(ask) || self.stop.is_cancelled() {
            return Found::Cold;
        }
        let known = self.hot.get(ask.subject.as_str()).filter(|hot| ask.is_of(hot.limits()));
        if let Some(answer) = known.as_ref().and_then(|hot| hot.take(ask.cost)) {
            return Found::Taken(answer);
        }
        let is_hot = self.heat.rises(&ask.subject) >= HOT;
        match known {
            Some(hot) if is_hot || hot.lasts() => Found::Hot(hot),
            None if is_hot => {
                let hot = Arc::new(Hot::new(&ask.limits));
                self.hot.insert(ask.subject.clone(), hot.clone());
                Found::Hot(hot)
            }
            _ => Found::Cold,
        }
    }

    /// Takes for an ask and those that follow, or answers it out of what another one took
    /// meanwhile; `None`: it is asked like any other.
    pub(super) async fn take(&self, ask: &Ask, hot: &Arc<Hot>) -> Option<Result<Answer>> {
        let Ok(_turn) = hot.turn.try_lock() else {
            // Whoever has waited for long enough asks by itself.
            let _ = timeout(PATIENCE, hot.turn.lock()).await;
            return hot.take(ask.cost).map(Ok);
        };
        if let Some(answer) = hot.take(ask.cost) {
            return Some(Ok(answer));
        }
        let more = hot.wants(ask.cost)?;
        let parts = 2 * self.instances.load(Ordering::Relaxed);
        let taken = self.together.take_ahead(ask, Wanted { more, parts, life: LIFE }).await;
        let (answer, taken) = match taken {
            Ok(taken) => taken,
            Err(error) => return Some(Err(error)),
        };
        match taken {
            Some(taken) => self.keep(ask, hot, Slice::new(taken, &answer)),
            None => hot.is_spent(),
        }
        Some(Ok(answer))
    }

    fn keep(&self, ask: &Ask, hot: &Hot, slice: Slice) {
        let slice = Arc::new(slice);
        hot.keep(slice.clone());
        let ends = Ends {
            ask: ask.clone(),
            slice,
            together: self.together.clone(),
            alone: self.alone.clone(),
            denials: self.denials.clone(),
        };
        self.tasks.spawn(ends.run(self.stop.clone()));
    }
}

/// Of what is taken ahead nothing can be told apart afterwards, nor be held; and a shadow
/// limit admits what it cannot charge.
fn suits(ask: &Ask) -> bool {
    let suits = |limit: &Arc<Limit>| limit.algorithm != Algorithm::Concurrency && !limit.shadow;
    ask.charge_id.is_empty() && ask.cost > 0 && ask.limits.iter().all(suits)
}
