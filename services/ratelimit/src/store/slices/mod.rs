//! Slices: what a hot subject will use soon is taken ahead of time, and nobody asks Redis
//! about each of it.
//!
//! Who asks for what is neither repeated nor given back is answered out of what was taken
//! for the subject, while that lasts: 250 ms at most, and a 16th of a sliding window. It is
//! charged as at its end, so that
//! each use counts for a whole window; what was not used is given back then. So nothing is
//! ever admitted beyond a limit, and the price is what nobody may use meanwhile: of what
//! is left at most one part of twice the instances, and of the last 20th nothing.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | the time is over, or this process was frozen since | nothing of it is used: Redis is asked. The clock stands still in a machine that is suspended |
//! | taking is not answered | who asked is decided alone; it may be charged, and ends with its window |
//! | giving back is not answered | it is not tried again, which could give back twice: it ends with its window |
//! | this process dies | the same |
//! | it drains | all is given back at once, and no more taken |
//! | who asks leaves meanwhile | it is taken all the same, for who comes next |
//! | Redis goes away | what was used until then is counted on here |
//! | Redis loses what was charged, or somebody resets the subject | the same: for so long it is used besides |
//! | the limits are others by now | of the new ones nothing was taken: Redis is asked |
//! | more hot subjects than are known | others have none |

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

use ahash::RandomState;
use mingle_store::{Error, ErrorKind, Result};
use moka::sync::Cache;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::{
    alone::Alone,
    denials::Denials,
    name::known_as,
    redis::{RedisStore, Wanted},
};
use crate::domain::{Algorithm, Answer, Ask, Limit};
use heat::Heat;
pub(super) use hot::Hot;
pub(crate) use slice::describe;
use slice::{Ends, Slice};

/// Nothing that was taken is used for longer.
const LIFE: Duration = Duration::from_millis(250);
/// Of a sliding window, what is charged while something is taken is free again so late.
const PARTS: u32 = 16;
/// For less it does not pay.
const SHORTEST: Duration = Duration::from_millis(20);
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
    /// By subject and limits.
    hot: Cache<String, Arc<Hot>, RandomState>,
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
        let hot = Cache::builder().max_capacity(SUBJECTS).time_to_idle(8 * LIFE);
        let hot = hot.build_with_hasher(RandomState::new());
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
        let key = key(ask);
        let known = self.known(&key, ask);
        if let Some(answer) = known.as_ref().and_then(|hot| hot.take(ask.cost)) {
            return Found::Taken(answer);
        }
        let is_hot = self.heat.rises(&ask.subject) >= HOT;
        match known {
            Some(hot) if (is_hot || hot.lasts()) && !hot.is_spent() => Found::Hot(hot),
            // Whoever comes next takes, if it is kept.
            None if is_hot && life(ask) >= SHORTEST => {
                self.hot.insert(key, Arc::new(Hot::new(&ask.limits, life(ask))));
                Found::Cold
            }
            _ => Found::Cold,
        }
    }

    fn known(&self, key: &str, ask: &Ask) -> Option<Arc<Hot>> {
        self.hot.get(key).filter(|hot| ask.is_of(hot.limits()))
    }

    /// An ask would be answered out of what was taken.
    pub(super) fn holds(&self, ask: &Ask) -> bool {
        suits(ask) && self.known(&key(ask), ask).is_some_and(|hot| hot.holds(ask.cost))
    }

    /// Redis is away: what was used of what was taken is counted on here.
    pub(super) fn leave(&self, ask: &Ask) {
        if let Some(hot) = self.known(&key(ask), ask) {
            hot.note(ask, &self.alone);
        }
    }

    /// Takes for an ask and those that follow, or answers it out of what another one took
    /// meanwhile; `None`: it is asked like any other.
    pub(super) async fn take(
        self: &Arc<Self>,
        ask: &Ask,
        hot: &Arc<Hot>,
    ) -> Option<Result<Answer>> {
        let Ok(turn) = hot.turn.clone().try_lock_owned() else {
            // Whoever has waited for long enough asks by itself.
            let _ = timeout(PATIENCE, hot.turn.lock()).await;
            return hot.take(ask.cost).map(Ok);
        };
        if let Some(answer) = hot.take(ask.cost) {
            return Some(Ok(answer));
        }
        // Whoever leaves now has taken for those who stay.
        let (this, ask, hot) = (self.clone(), ask.clone(), hot.clone());
        let taking = async move {
            let taken = this.take_ahead(&ask, &hot).await;
            drop(turn);
            taken
        };
        let taken = self.tasks.spawn(taking.in_current_span()).await;
        Some(taken.unwrap_or_else(|_| Err(Error::new(ErrorKind::Corrupt, "ratelimit slice"))))
    }

    async fn take_ahead(&self, ask: &Ask, hot: &Hot) -> Result<Answer> {
        let parts = 2 * self.instances.load(Ordering::Relaxed);
        let wanted = Wanted { more: hot.wants(ask.cost), parts, life: hot.life() };
        let taken = self.together.take_ahead(ask, wanted).await;
        let Ok((mut answer, Some(taken))) = taken else {
            hot.spend();
            return taken.map(|(answer, _)| answer);
        };
        let more = taken.more;
        self.keep(ask, hot, Slice::new(taken, &answer));
        // What this process has is left, too.
        answer.standings.iter_mut().for_each(|standing| standing.remaining += more);
        Ok(answer)
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

/// Each with its own, whoever else has the same subject.
fn key(ask: &Ask) -> String {
    let mut key = known_as(&ask.subject).into_owned();
    for limit in &ask.limits {
        key.push('\0');
        key.push_str(&limit.name);
    }
    key
}

/// For how long something may be taken ahead.
fn life(ask: &Ask) -> Duration {
    let slides = |limit: &&Arc<Limit>| limit.algorithm == Algorithm::SlidingWindow;
    let windows = ask.limits.iter().filter(slides).map(|limit| limit.window_us);
    windows.min().map_or(LIFE, |us| LIFE.min(Duration::from_micros(us) / PARTS))
}

/// Of what is taken ahead nothing can be told apart afterwards, nor be held; and a shadow
/// limit admits what it cannot charge.
fn suits(ask: &Ask) -> bool {
    let suits = |limit: &Arc<Limit>| limit.algorithm != Algorithm::Concurrency && !limit.shadow;
    ask.charge_id.is_empty() && ask.cost > 0 && ask.limits.iter().all(suits)
}
