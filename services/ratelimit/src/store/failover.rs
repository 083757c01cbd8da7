//! Counting together while that can be done, and alone meanwhile.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | a call to Redis ends in an error, whichever | this process decides that call; the reply is degraded |
//! | 20 calls or more within a second, and more than half of all, or two heartbeats in a row | the breaker opens: Redis is not asked at all until a probe succeeds, one each second |
//! | a charge times out on Redis, and is then charged alone | Redis runs it in time or never (LATE): it may stand in both counts, and ends with its windows |
//! | the same charge comes again on the other side | known here, if this process made it: allowed, charged once. Known to Redis alone: charged here once more |
//! | a charge is given back on the other side | here at once; on Redis with the next probes that succeed, for 1,024 at most, unless the same charge was asked for again |
//! | Redis restarts empty, or the outage ends | what was admitted meanwhile is not in the new count: in a window that holds the change at most quota + instances × share are admitted, twice the quota |
//! | this process restarts during the outage | it knows of no other instance and of no charge: it admits the whole quota once |
//! | an instance dies during the outage | the others keep their shares, and for 5 s after it |
//! | the outage ends, and the instances come back one by one | each keeps its share until all had 5 s to be back: should Redis go again, it has not grown |

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::{join, join_all};
use mingle_store::{
    Error, ErrorKind, Result,
    breaker::{Breaker, Policy},
    bus::Bus,
    clock::Clock,
    failover::{Probe, watch},
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Store,
    alone::Alone,
    company::Company,
    denials::Denials,
    memory::{Back, Bounds},
    owed::Owed,
    redis::{LOST_MS, RedisStore},
    slices::{Found, Hot, Slices},
};
use crate::domain::{Answer, Ask, Charged, Limit, Limits, Place, Source};

/// What the refunds that are owed may take of a probe.
const PAYING: Duration = Duration::from_millis(250);

/// What one instance counts with when it counts alone.
pub struct Instance {
    /// Tells it from the others.
    pub id: String,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// By which the instances tell each other what is given back.
    pub bus: Arc<dyn Bus>,
    /// What it may hold in memory.
    pub bounds: Bounds,
}

/// Limits of many processes over Redis, or over nothing.
///
/// **Errors**: none; whoever cannot be counted together is decided about alone,
/// which the answer says.
///
/// **Degraded**: see the module.
pub struct Failover {
    sides: Arc<Sides>,
    breaker: Arc<Breaker>,
}

struct Sides {
    id: String,
    together: RedisStore,
    alone: Arc<Alone>,
    owed: Owed,
    company: Company,
    denials: Arc<Denials>,
    slices: Arc<Slices>,
}

/// What is known of an ask before anybody is asked.
enum Known {
    Answer(Answer),
    Hot(Arc<Hot>),
    Nothing,
}

impl Failover {
    /// Counts by `together` while it can. Until `stop` this instance says on it
    /// that it lives.
    pub fn start(
        together: RedisStore,
        instance: Instance,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let Instance { id, clock, bus, bounds } = instance;
        let alone = Arc::new(Alone::new(clock, bounds));
        let company = Company::new(Duration::from_millis(LOST_MS));
        let owed = Owed::default();
        let denials = Denials::new(bus, bounds.max_subjects);
        tasks.spawn(denials.clone().follow(together.data(), stop.clone()));
        let with = (alone.clone(), denials.clone());
        let slices = Arc::new(Slices::new(together.clone(), with, tasks.clone(), stop.clone()));
        let sides = Arc::new(Sides { id, together, alone, owed, company, denials, slices });
        let breaker = Arc::new(Breaker::new("ratelimit", Policy::default()));
        let (watched, watching) = (sides.clone(), breaker.clone());
        tasks.spawn(async move {
            watch(watched.clone(), watching, stop).await;
            // Those who stay have larger shares at once, and not in a while.
            let _ = watched.together.beat(&watched.id, true).await;
        });
        Self { sides, breaker }
    }

    /// Open while nobody counts together.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// The answer of Redis, or what this process decides in its place.
    fn settle(&self, ask: &Ask, answer: Result<Answer>, charges: bool) -> Answer {
        // What another one took is no word of Redis.
        if !matches!(answer, Ok(Answer { source: Source::Slice, .. })) {
            self.breaker.record(answer.is_err());
        }
        match answer {
            Ok(answer) => {
                // What is taken ahead of time is noted when it is over.
                if charges && ask.cost > 0 && answer.source == Source::Count {
                    self.sides.alone.note(ask, &answer);
                    self.relied_on(ask, &answer);
                }
                answer
            }
            Err(error) => {
                tracing::debug!(%error, "a limit is not counted together");
                self.alone(ask, charges)
            }
        }
    }

    fn alone(&self, ask: &Ask, charges: bool) -> Answer {
        self.sides.slices.leave(ask);
        let answer = self.sides.alone.decide(ask, charges);
        if charges && ask.cost > 0 {
            self.relied_on(ask, &answer);
        }
        answer
    }

    /// What was admitted is not given back for who had it before.
    fn relied_on(&self, ask: &Ask, answer: &Answer) {
        if answer.verdict.is_allowed() {
            self.sides.owed.forget(&ask.subject, &ask.charge_id);
        }
    }
}

impl Sides {
    fn known(&self, ask: &Ask) -> Known {
        let found = self.slices.find(ask);
        if let Found::Taken(answer) = found {
            return Known::Answer(answer);
        }
        match (self.denials.find(ask), found) {
            (Some(denied), _) => Known::Answer(denied),
            (None, Found::Hot(hot)) => Known::Hot(hot),
            (None, _) => Known::Nothing,
        }
    }

    async fn count(&self, asks: &[Ask]) -> Vec<Result<Answer>> {
        if asks.is_empty() { Vec::new() } else { self.together.check(asks).await }
    }

    /// Takes for an ask of a hot subject, or counts it.
    async fn take(&self, ask: &Ask, hot: &Arc<Hot>) -> Result<Answer> {
        match self.slices.take(ask, hot).await {
            Some(taken) => taken,
            None => {
                let unanswered = || Err(Error::new(ErrorKind::Corrupt, "ratelimit answer"));
                self.count(std::slice::from_ref(ask)).await.pop().unwrap_or_else(unanswered)
            }
        }
    }
}

#[async_trait]
impl Probe for Sides {
    async fn probe(&self) -> Result<()> {
        // First: what fails from here on breaks the series.
        let series = self.company.beats(self.together.generation());
        self.together.prove(&self.id).await?;
        let live = self.together.beat(&self.id, false).await?;
        let live = self.company.told(series, live);
        self.alone.share(live);
        self.slices.share(live);
        let _ = timeout(PAYING, self.owed.pay(&self.together, &self.denials)).await;
        Ok(())
    }
}

#[async_trait]
impl Store for Failover {
    async fn check(&self, asks: &[Ask]) -> Vec<Result<Answer>> {
        if self.breaker.is_open() {
            return asks.iter().map(|ask| Ok(self.alone(ask, true))).collect();
        }
        let known: Vec<_> = asks.iter().map(|ask| self.sides.known(ask)).collect();
        let asked = self.sides.denials.moment();
        let is_plain = |(_, known): &(&Ask, &Known)| matches!(known, Known::Nothing);
        let plain: Cow<'_, [Ask]> = match asks.iter().zip(&known).all(|it| is_plain(&it)) {
            true => Cow::Borrowed(asks),
            false => asks.iter().zip(&known).filter(is_plain).map(|it| it.0.clone()).collect(),
        };
        let hot = asks.iter().zip(&known).filter_map(|(ask, known)| match known {
            Known::Hot(hot) => Some(self.sides.take(ask, hot)),
            _ => None,
        });
        let (plain, hot) = join(self.sides.count(&plain), join_all(hot)).await;
        let (mut plain, mut hot) = (plain.into_iter(), hot.into_iter());
        let settle = |(ask, known)| {
            let told = match known {
                Known::Answer(answer) => return Ok(answer),
                Known::Hot(_) => hot.next(),
                Known::Nothing => plain.next(),
            };
            let unanswered = || Err(Error::new(ErrorKind::Corrupt, "ratelimit answer"));
            let answer = self.settle(ask, told.unwrap_or_else(unanswered), true);
            if answer.source == Source::Count {
                self.sides.denials.note(ask, &answer, asked);
            }
            Ok(answer)
        };
        asks.iter().zip(known).map(settle).collect()
    }

    async fn peek(&self, ask: &Ask) -> Result<Answer> {
        if self.breaker.is_open() {
            return Ok(self.alone(ask, false));
        }
        let answer = self.sides.together.peek(ask).await;
        Ok(self.settle(ask, answer, false))
    }

    async fn refund(&self, charge: Charged<'_>, limits: &Arc<Limits>) -> Result<bool> {
        let Sides { together, alone, owed, denials, .. } = &*self.sides;
        let here = alone.give_back(charge);
        if !self.breaker.is_open() {
            let given = together.refund(charge, limits).await;
            self.breaker.record(given.is_err());
            if !matches!(given, Ok(false)) {
                denials.end(charge.subject).await;
            }
            if let Ok(given) = given {
                return Ok(given || here == Back::Given);
            }
        }
        if here != Back::Kept {
            owed.add(charge, limits);
        }
        Ok(here == Back::Given)
    }

    fn place(&self, subject: &str, limit: &Limit) -> Place {
        self.sides.together.place(subject, limit)
    }

    fn decider(&self, ask: &Ask) -> Source {
        let Sides { alone, denials, slices, .. } = &*self.sides;
        let ask = Ask { is_new: true, charge_id: String::new(), ..ask.clone() };
        if self.breaker.is_open() {
            return Source::Alone(alone.shared_by());
        }
        if slices.holds(&ask) {
            return Source::Slice;
        }
        denials.find(&ask).map_or(Source::Count, |denied| denied.source)
    }

    async fn reset(&self, subject: &str, limits: &[Arc<Limit>]) -> Result<()> {
        if self.breaker.is_open() {
            return Err(Error::new(ErrorKind::Unavailable, "nobody can count together"));
        }
        let reset = self.sides.together.reset(subject, limits).await;
        self.breaker.record(reset.is_err());
        if reset.is_ok() {
            self.sides.alone.forget(subject, limits);
        }
        self.sides.denials.end(subject).await;
        reset
    }
}
