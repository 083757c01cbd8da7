//! Random schedules of what is taken ahead of time, beside what is charged as it comes:
//! whenever in its life something is used, no window holds more than was promised, and
//! what was not used comes back. A model of what was admitted is the judge.

use std::{sync::Arc, time::Duration};

use mingle_ratelimit::{
    domain::{Algorithm, Ask, Charged, Limit, Limits, Outage},
    store::{
        Store as _,
        redis::{RedisStore, Taken, Wanted},
    },
};
use mingle_store::clock::{Clock as _, ManualClock};
use proptest::{prelude::*, sample::Index};

use crate::{
    domain::{any_algorithm, most_between_edges, most_in_a_window, promised},
    schedules::{self, Since, pass},
};

const REMEMBER_US: u64 = 90_000_000;
/// Nothing lives longer.
const LIFE_MS: u64 = 8_000;

#[derive(Clone, Debug)]
enum Step {
    Pass(u32),
    Check {
        cost: u64,
        of: u8,
    },
    /// All that is left.
    Rest(u8),
    Refund(Index),
    Ahead {
        cost: u64,
        more: u64,
        parts: u64,
        life_ms: u64,
        of: u8,
    },
    Use(Index, u64),
    GiveBack(Index),
    Reset,
}

fn limit(name: &'static str) -> impl Strategy<Value = Limit> {
    let quota = prop_oneof![4 => 2..=24_u64, 1 => 257..=400_u64];
    // At least a minute: the server ends keys by its own time.
    (any_algorithm(), quota, 60_000..64_000_u64, 1..=24_u64)
        .prop_filter("nothing that is held is taken ahead", |(algorithm, ..)| {
            *algorithm != Algorithm::Concurrency
        })
        .prop_map(move |(algorithm, quota, window_ms, burst)| Limit {
            name: name.into(),
            algorithm,
            quota,
            window_us: window_ms * 1_000,
            burst: burst.min(quota),
            outage: Outage::Local,
            shadow: false,
            parts: 1,
        })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let of = || 1..4_u8;
    let ahead = (1..3_u64, 1..60_u64, 1..4_u64, 1..LIFE_MS, of());
    let step = prop_oneof![
        4 => prop_oneof![3 => 0..4_000_u32, 2 => 50_000..64_000_u32].prop_map(Step::Pass),
        3 => (1..5_u64, of()).prop_map(|(cost, of)| Step::Check { cost, of }),
        4 => of().prop_map(Step::Rest),
        1 => any::<Index>().prop_map(Step::Refund),
        5 => ahead.prop_map(|(cost, more, parts, life_ms, of)| Step::Ahead {
            cost, more, parts, life_ms, of,
        }),
        6 => (any::<Index>(), 1..20_u64).prop_map(|(index, cost)| Step::Use(index, cost)),
        4 => any::<Index>().prop_map(Step::GiveBack),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..50)
}

/// Something that was taken and not given back.
struct Slice {
    ask: Ask,
    taken: Taken,
    left: u64,
    until_us: u64,
    /// Of before a reset it is used besides.
    is_reset: bool,
}

#[derive(Debug, Default)]
struct Seen {
    charged: usize,
    taken: usize,
    used: usize,
    given: usize,
    refunded: usize,
}

struct Case<'a> {
    redis: RedisStore,
    limits: Vec<Arc<Limit>>,
    clock: &'a ManualClock,
    subject: String,
    slices: Vec<Slice>,
    /// What was admitted: when, the cost, of which limits.
    stands: Vec<(u64, u64, u8)>,
    /// Where among these is what may be refunded, by its id.
    ids: Vec<(String, usize)>,
    seen: &'a mut Seen,
}

impl Case<'_> {
    fn now_us(&self) -> u64 {
        self.clock.now_ms() as u64 * 1_000
    }

    fn ask(&self, cost: u64, of: u8, charge_id: String) -> Ask {
        let chosen = self.limits.iter().enumerate().filter(|(at, _)| of & (1 << at) != 0);
        let limits = chosen.map(|(_, limit)| limit.clone()).collect();
        Ask { subject: self.subject.clone(), charge_id, is_new: true, cost, limits }
    }

    async fn act(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now_us = self.now_us();
        match step {
            Step::Pass(ms) => pass(self.clock, *ms, &self.limits),
            Step::Check { cost, of } => self.check(*cost, *of).await,
            Step::Rest(of) => {
                let looked = self.redis.peek(&self.ask(0, *of, String::new())).await.unwrap();
                let left = looked.standings.iter().map(|it| it.remaining).min().unwrap_or(0);
                if left > 0 {
                    self.check(left, *of).await;
                }
            }
            Step::Refund(index) if !self.ids.is_empty() => {
                let (id, at) = self.ids.remove(index.index(self.ids.len()));
                let all = self.limits.iter().map(|it| (it.name.to_string(), it.clone()));
                let charge =
                    Charged { subject: &self.subject, charge_id: &id, unless_repeated: false };
                let all: Limits = all.collect();
                if self.redis.refund(charge, &Arc::new(all)).await.unwrap() {
                    self.stands[at].1 = 0;
                    self.seen.refunded += 1;
                }
            }
            Step::Refund(_) => {}
            Step::Ahead { cost, more, parts, life_ms, of } => {
                let wanted =
                    Wanted { more: *more, parts: *parts, life: Duration::from_millis(*life_ms) };
                self.take_ahead(self.ask(*cost, *of, String::new()), wanted, *of).await?;
            }
            Step::Use(index, cost) if !self.slices.is_empty() => {
                let at = index.index(self.slices.len());
                let slice = &mut self.slices[at];
                let of = self.limits.iter().enumerate();
                let of =
                    of.filter(|(_, limit)| slice.ask.limits.iter().any(|it| it.name == limit.name));
                let of = of.fold(0, |of, (at, _)| of | 1 << at);
                if now_us < slice.until_us && slice.left >= *cost && !slice.is_reset {
                    slice.left -= cost;
                    self.stands.push((now_us, *cost, of));
                    self.seen.used += 1;
                }
            }
            Step::Use(..) => {}
            Step::GiveBack(index) if !self.slices.is_empty() => {
                let slice = self.slices.remove(index.index(self.slices.len()));
                self.give_back(slice).await?;
            }
            Step::GiveBack(_) => {}
            Step::Reset => {
                self.redis.reset(&self.subject, &self.limits).await.unwrap();
                self.stands.iter_mut().for_each(|(_, cost, _)| *cost = 0);
                self.slices.iter_mut().for_each(|slice| slice.is_reset = true);
                // The server forgets by its own time what stays until the next moment.
                self.clock.advance(1);
            }
        }
        Ok(())
    }

    async fn check(&mut self, cost: u64, of: u8) {
        let ask = self.ask(cost, of, format!("id {}", self.stands.len()));
        let answer = self.redis.check(std::slice::from_ref(&ask)).await.remove(0).unwrap();
        if answer.verdict.is_allowed() {
            self.ids.push((ask.charge_id, self.stands.len()));
            self.stands.push((self.now_us(), cost, of));
            self.seen.charged += 1;
        }
    }

    async fn take_ahead(&mut self, ask: Ask, wanted: Wanted, of: u8) -> Result<(), TestCaseError> {
        let now_us = self.now_us();
        let (answer, taken) = self.redis.take_ahead(&ask, wanted).await.unwrap();
        if !answer.verdict.is_allowed() {
            prop_assert!(taken.is_none());
            return Ok(());
        }
        self.stands.push((now_us, ask.cost, of));
        let Some(taken) = taken else { return Ok(()) };
        prop_assert!(taken.more <= wanted.more && taken.life <= wanted.life);
        let until_us = now_us + taken.life.as_micros() as u64;
        let left = taken.more;
        self.slices.push(Slice { ask, taken, left, until_us, is_reset: false });
        self.seen.taken += 1;
        Ok(())
    }

    async fn give_back(&mut self, slice: Slice) -> Result<(), TestCaseError> {
        if slice.left == 0 {
            return Ok(());
        }
        let peek = async || {
            let ask = Ask { cost: 0, ..slice.ask.clone() };
            let answer = self.redis.peek(&ask).await.unwrap();
            answer.standings.iter().map(|it| it.remaining).collect::<Vec<_>>()
        };
        let before = peek().await;
        let given = self.redis.give_back_unused(&slice.ask, &slice.taken, slice.left);
        let given = given.await.unwrap();
        prop_assert_eq!(given.len(), slice.ask.limits.len());
        let after = peek().await;
        let most = |before: &u64| before + if slice.is_reset { 0 } else { slice.left };
        let fits = before.iter().zip(&after).all(|(from, to)| (*from..=most(from)).contains(to));
        prop_assert!(fits, "{:?} are left, and then {:?}", before, after);
        let is_given = given.contains(&true);
        self.seen.given += usize::from(is_given);
        Ok(())
    }

    fn assert_kept(&self) -> Result<(), TestCaseError> {
        for (at, limit) in self.limits.iter().enumerate() {
            let of = self.stands.iter().filter(|(.., of)| of & (1 << at) != 0);
            let stands: Vec<_> = of.map(|(at_us, cost, _)| (*at_us, *cost)).collect();
            let most = most_in_a_window(limit, &stands);
            prop_assert!(most <= promised(limit), "{} in a window of {:?}", most, limit);
            if limit.algorithm == Algorithm::FixedWindow {
                let most = most_between_edges(limit, &stands);
                prop_assert!(most <= limit.quota, "{} at once of {:?}", most, limit);
            }
        }
        Ok(())
    }

    /// When all has been given back, what is left is what was not used.
    async fn assert_all_is_back(&mut self) -> Result<(), TestCaseError> {
        for slice in std::mem::take(&mut self.slices) {
            self.give_back(slice).await?;
        }
        for (at, limit) in self.limits.iter().enumerate() {
            if limit.algorithm != Algorithm::SlidingWindow || limit.quota > 256 {
                continue;
            }
            let peek = self.redis.peek(&self.ask(0, 1 << at, String::new())).await.unwrap();
            let since_us = (self.now_us() + 1).saturating_sub(limit.window_us);
            // What was taken, and what was charged meanwhile, counts for as much longer.
            let used = |since_us: u64| -> u64 {
                let of = self.stands.iter().filter(|(.., of)| of & (1 << at) != 0);
                of.filter(|(at_us, ..)| *at_us >= since_us).map(|(_, cost, _)| cost).sum()
            };
            let (most, least) = (used(since_us.saturating_sub(LIFE_MS * 1_000)), used(since_us));
            let left = limit.quota.saturating_sub(most)..=limit.quota - least;
            let remaining = peek.standings[0].remaining;
            prop_assert!(left.contains(&remaining), "{} is left, not {:?}", remaining, left);
        }
        Ok(())
    }
}

#[test]
fn no_schedule_of_it_admits_more_than_promised() {
    let seen = parking_lot::Mutex::new(Seen::default());
    let cases = schedules::run(&((limit("a"), limit("b")), steps()), |stage, ((a, b), steps)| {
        let mut seen = seen.lock();
        let mut case = Case {
            redis: RedisStore::new(stage.redis.clone(), REMEMBER_US),
            limits: vec![Arc::new(a), Arc::new(b)],
            clock: &stage.clock,
            subject: schedules::subject(),
            slices: Vec::new(),
            stands: Vec::new(),
            ids: Vec::new(),
            seen: &mut seen,
        };
        pass(&stage.clock, 0, &case.limits);
        stage.runtime.block_on(async {
            let mut since = Since::now();
            for step in &steps {
                since.keep_up(&stage.clock, &case.limits);
                case.act(step).await?;
                case.assert_kept()?;
            }
            case.assert_all_is_back().await
        })
    });
    let seen = seen.into_inner();
    eprintln!("{cases} schedules: {seen:?}");
    let Seen { charged, taken, used, given, refunded } = seen;
    let least = charged.min(taken).min(used).min(given).min(refunded);
    assert!(least > cases / 10, "too little happened");
}
