//! Random schedules: the scripts, memory and a model that only remembers what
//! was admitted agree about every answer. The clock goes forward only: when a
//! state may be forgotten is a store's own time.

use std::sync::Arc;

use mingle_ratelimit::{
    domain::{Algorithm, Answer, Ask, Charged, Limit, Limits, Outage, Verdict},
    store::{
        Store,
        memory::{Bounds, Memory},
        redis::RedisStore,
    },
};
use mingle_store::clock::{Clock as _, ManualClock};
use proptest::prelude::*;

use crate::{
    domain::{any_algorithm, promised},
    schedules::{self, Since, Stage, pass},
};

const NAMES: [&str; 3] = ["a", "b", "c"];
const REMEMBER_US: u64 = 90_000_000;

#[derive(Clone, Debug)]
enum Step {
    Pass(u32),
    Take {
        id: u8,
        cost: u64,
        of: u8,
    },
    /// The same as before with this id.
    Again(u8),
    Peek {
        cost: u64,
        of: u8,
    },
    Refund {
        id: u8,
        unless_repeated: bool,
    },
    Reset(u8),
}

fn limit(name: &'static str) -> impl Strategy<Value = Limit> {
    let quota = prop_oneof![4 => 1..=8_u64, 1 => 257..=400_u64];
    // At least a minute: the server ends keys by its own time.
    let numbers = (quota, 60_000..180_000_u64, 1..=8_u64);
    (any_algorithm(), numbers, prop::bool::weighted(0.1)).prop_map(
        move |(algorithm, (quota, window_ms, burst), shadow)| Limit {
            name: name.into(),
            algorithm,
            quota,
            window_us: window_ms * 1_000,
            burst: burst.min(quota),
            outage: Outage::Local,
            shadow,
            parts: 1,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cost = || prop_oneof![5 => 0..3_u64, 1 => 1..10_u64, 1 => 100..400_u64];
    let step = prop_oneof![
        4 => prop_oneof![0..2_000_u32, 0..70_000_u32].prop_map(Step::Pass),
        9 => (0..24_u8, cost(), 1..8_u8).prop_map(|(id, cost, of)| Step::Take { id, cost, of }),
        1 => (cost(), 1..8_u8).prop_map(|(cost, of)| Step::Peek { cost, of }),
        3 => (0..24_u8).prop_map(Step::Again),
        3 => (0..24_u8, any::<bool>())
            .prop_map(|(id, unless_repeated)| Step::Refund { id, unless_repeated }),
        1 => (1..8_u8).prop_map(Step::Reset),
    ];
    prop::collection::vec(step, 1..40)
}

/// What was admitted and not given back.
#[derive(Clone)]
struct Charge {
    id: u8,
    at_us: u64,
    cost: u64,
    names: Vec<Arc<str>>,
    shadowed: Vec<Arc<str>>,
    repeated: bool,
    is_lease: bool,
}

/// Knows no algorithm: only what was admitted, and what was promised of it.
#[derive(Clone, Default)]
struct Witness {
    stands: Vec<Charge>,
    latest_us: u64,
}

impl Witness {
    /// What is renewed stands once.
    fn renewed(&mut self, ask: &Ask, id: u8) {
        let is_named = |name: &Arc<str>| ask.limits.iter().any(|limit| limit.name == *name);
        self.stands.retain(|charge| {
            let mut names = charge.names.iter().chain(&charge.shadowed);
            charge.id != id || !charge.is_lease || !names.all(is_named)
        });
    }

    fn within(&self, limit: &Limit, from_us: u64) -> u64 {
        let counts = |charge: &&Charge| {
            charge.names.contains(&limit.name)
                && from_us <= charge.at_us
                && charge.at_us < from_us + limit.window_us
        };
        self.stands.iter().filter(counts).map(|charge| charge.cost).sum()
    }

    fn note(&mut self, ask: &Ask, id: u8, now_us: u64, answer: &Answer) -> Result<(), String> {
        if answer.verdict == Verdict::Denied {
            return self.clone().needed(ask, id, now_us, answer);
        }
        let is_lease = ask.is_lease() && ask.cost > 0 && answer.verdict != Verdict::Reused;
        if is_lease {
            self.renewed(ask, id);
        } else if answer.verdict == Verdict::Repeated {
            let found = self.stands.iter_mut().rfind(|charge| charge.id == id);
            found.into_iter().for_each(|charge| charge.repeated = true);
        }
        if !is_lease && (answer.verdict != Verdict::Allowed || ask.cost == 0) {
            return Ok(());
        }
        self.latest_us = self.latest_us.max(now_us);
        // A shadow limit may have held nothing of it: the answer cannot tell.
        let (shadowed, real): (Vec<_>, Vec<_>) =
            ask.limits.iter().cloned().partition(|limit| limit.shadow);
        let names = |limits: Vec<Arc<Limit>>| limits.iter().map(|it| it.name.clone()).collect();
        self.stands.push(Charge {
            id,
            at_us: self.latest_us,
            cost: ask.cost,
            names: names(real.clone()),
            shadowed: names(shadowed),
            repeated: false,
            is_lease,
        });
        for limit in real {
            let promised = promised(&limit);
            let begins = self.stands.iter().map(|charge| charge.at_us);
            let most = begins.map(|at_us| self.within(&limit, at_us)).max().unwrap_or(0);
            if most > promised {
                return Err(format!("{most} in a window of {limit:?}"));
            }
        }
        Ok(())
    }

    /// An exact window that denies holds too much, without what is to be renewed:
    /// nothing is denied without need.
    fn needed(mut self, ask: &Ask, id: u8, now_us: u64, answer: &Answer) -> Result<(), String> {
        if ask.is_lease() {
            self.renewed(ask, id);
        }
        for (limit, standing) in ask.limits.iter().zip(&answer.standings) {
            let logs = matches!(limit.algorithm, Algorithm::SlidingWindow | Algorithm::Concurrency);
            let exact = logs && limit.quota <= 256;
            if !exact || limit.shadow || standing.allowed {
                continue;
            }
            let now_us = now_us.max(self.latest_us);
            let held = self.within(limit, now_us + 1 - limit.window_us);
            if held + ask.cost <= limit.quota {
                return Err(format!("denied at {held} + {} by {limit:?}", ask.cost));
            }
        }
        Ok(())
    }

    fn is_repeated(&self, id: u8) -> bool {
        self.stands.iter().rfind(|charge| charge.id == id).is_some_and(|charge| charge.repeated)
    }

    fn refund(&mut self, id: u8) -> bool {
        let at = self.stands.iter().rposition(|charge| charge.id == id);
        let Some(at) = at else { return false };
        let charge = self.stands.remove(at);
        !charge.names.is_empty() || !charge.shadowed.is_empty()
    }

    /// Nothing of these is held any more.
    fn reset(&mut self, of: &[Arc<Limit>]) {
        let stays = |name: &Arc<str>| !of.iter().any(|limit| limit.name == *name);
        for charge in &mut self.stands {
            charge.names.retain(stays);
            charge.shadowed.retain(stays);
        }
    }
}

#[derive(Default)]
struct Seen {
    allowed: usize,
    denied: usize,
    repeated: usize,
    reused: usize,
    refunded: usize,
}

struct Case<'a> {
    redis: RedisStore,
    memory: Memory,
    witness: Witness,
    limits: Limits,
    clock: &'a ManualClock,
    subject: String,
    /// By id.
    asked: [Option<Ask>; 24],
    seen: &'a mut Seen,
}

impl Case<'_> {
    fn chosen(&self, of: u8) -> Vec<Arc<Limit>> {
        let chosen = NAMES.iter().enumerate().filter(|(at, _)| of & (1 << at) != 0);
        chosen.map(|(_, name)| self.limits[*name].clone()).collect()
    }

    fn ask(&self, id: u8, cost: u64, of: u8) -> Ask {
        let limits = self.chosen(of);
        Ask {
            subject: self.subject.clone(),
            charge_id: format!("id {id}"),
            is_new: false,
            cost,
            limits,
        }
    }

    async fn take(&mut self, ask: Ask, id: u8, now_us: u64) -> Result<(), TestCaseError> {
        let asks = [ask];
        let in_memory = self.memory.check(&asks).await.remove(0).unwrap();
        let shown = self.redis.check(&asks).await.remove(0).unwrap();
        prop_assert_eq!(&shown, &in_memory);
        match shown.verdict {
            Verdict::Allowed => self.seen.allowed += 1,
            Verdict::Denied => self.seen.denied += 1,
            Verdict::Repeated => self.seen.repeated += 1,
            Verdict::Reused => self.seen.reused += 1,
        }
        self.witness.note(&asks[0], id, now_us, &shown).map_err(TestCaseError::fail)
    }

    async fn act(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now_us = self.clock.now_ms() as u64 * 1_000;
        match step {
            Step::Pass(ms) => pass(self.clock, *ms, &self.chosen(u8::MAX)),
            Step::Take { id, cost, of } => {
                let ask = self.ask(*id, *cost, *of);
                self.asked[usize::from(*id)] = Some(ask.clone());
                self.take(ask, *id, now_us).await?;
            }
            Step::Again(id) => {
                if let Some(ask) = self.asked[usize::from(*id)].clone() {
                    self.take(ask, *id, now_us).await?;
                }
            }
            Step::Peek { cost, of } => {
                let ask = self.ask(0, *cost, *of);
                let in_memory = self.memory.peek(&ask).await.unwrap();
                prop_assert_eq!(self.redis.peek(&ask).await.unwrap(), in_memory);
            }
            Step::Reset(of) => {
                let limits = self.chosen(*of);
                self.memory.reset(&self.subject, &limits).await.unwrap();
                self.redis.reset(&self.subject, &limits).await.unwrap();
                self.witness.reset(&limits);
                // The server forgets by its own time what stays until the next moment.
                self.clock.advance(1);
            }
            Step::Refund { id, unless_repeated } => {
                let id_text = format!("id {id}");
                let (subject, unless_repeated) = (&*self.subject, *unless_repeated);
                let charge = Charged { subject, charge_id: &id_text, unless_repeated };
                let limits = Arc::new(self.limits.clone());
                let given = self.memory.refund(charge, &limits).await.unwrap();
                let shown = self.redis.refund(charge, &limits).await.unwrap();
                prop_assert_eq!(shown, given);
                if given {
                    prop_assert!(!unless_repeated || !self.witness.is_repeated(*id));
                    prop_assert!(self.witness.refund(*id), "nothing of it stood");
                    self.seen.refunded += 1;
                }
            }
        }
        Ok(())
    }
}

fn open<'a>(stage: &'a Stage, limits: Limits, seen: &'a mut Seen) -> Case<'a> {
    let bounds = Bounds { max_subjects: 1_000, max_charges: 1_000, remember_us: REMEMBER_US };
    Case {
        redis: RedisStore::new(stage.redis.clone(), REMEMBER_US),
        memory: Memory::new(stage.clock.clone(), bounds),
        witness: Witness::default(),
        limits,
        clock: &stage.clock,
        subject: schedules::subject(),
        asked: Default::default(),
        seen,
    }
}

#[test]
fn scripts_memory_and_a_witness_agree() {
    let seen = parking_lot::Mutex::new(Seen::default());
    let all = ((limit("a"), limit("b"), limit("c")), steps());
    let cases = schedules::run(&all, |stage, ((a, b, c), steps)| {
        let limits = [a, b, c].map(|limit| (limit.name.to_string(), Arc::new(limit)));
        let mut seen = seen.lock();
        let mut case = open(stage, limits.into(), &mut seen);
        pass(&stage.clock, 0, &case.chosen(u8::MAX));
        stage.runtime.block_on(async {
            let mut since = Since::now();
            for step in &steps {
                since.keep_up(&stage.clock, &case.chosen(u8::MAX));
                case.act(step).await?;
            }
            Ok(())
        })
    });
    let Seen { allowed, denied, repeated, reused, refunded } = seen.into_inner();
    eprintln!(
        "{cases} schedules: {allowed} allowed, {denied} denied, {repeated} repeated, {reused} reused, {refunded} refunded"
    );
    let least = allowed.min(denied).min(repeated).min(reused).min(refunded);
    assert!(least > cases / 10, "too little happened");
}
