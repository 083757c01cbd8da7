//! Drawing a schedule.

use std::{fmt, time::Duration};

use mingle_testkit::{Fault, To};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// What is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A process of a role.
    Process(&'static str, usize),
    Redis,
    Postgres,
    /// The way from a process.
    Way(&'static str, usize, To),
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// `kill -9`, and a start at the end.
    Kill,
    /// The same for Redis, which starts without data.
    Empty,
    /// SIGSTOP, and SIGCONT at the end.
    Stop,
    /// A fault of a way.
    Fault(Fault),
    /// The connections of a way are silent for good.
    Strand,
}

/// One harm from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Since the beginning of the schedule.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) target: Target,
    pub(crate) harm: Harm,
}

impl Step {
    pub(crate) fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, end) = (self.at.as_secs_f32(), self.end().as_secs_f32());
        write!(f, "{at:6.1} to {end:6.1} s  {:?} {:?}", self.harm, self.target)
    }
}

/// Between two beginnings, in milliseconds.
const BETWEEN: std::ops::Range<u64> = 1_000..4_000;
/// How long a harm lasts, in milliseconds. Shorter than what makes a node's
/// users offline, lease and grace of 13 s, so that nobody may be shown so.
const LASTS: std::ops::Range<u64> = 1_000..8_000;
/// A backend is away for shorter: much stands still meanwhile.
const BACKEND: std::ops::Range<u64> = 1_000..5_000;
/// What happens at the same time, at most.
const AT_ONCE: usize = 3;

/// Schedules that are drawn in search of one that leaves nothing out: of 90 s
/// every third does.
const DRAWS: u64 = 1_000;
/// What is wrong with a way.
const FAULTS: [Harm; 7] = [
    Harm::Fault(Fault::Cut),
    Harm::Fault(Fault::Silent),
    Harm::Fault(Fault::NoAnswers),
    Harm::Fault(Fault::NoRequests),
    Harm::Fault(Fault::Slow(Duration::from_millis(200))),
    Harm::Fault(Fault::Narrow(16 * 1024)),
    Harm::Strand,
];

/// The first schedule from `seed` on that harms both backends and a process of
/// every role.
///
/// # Panics
///
/// When the time is too short for that.
pub(crate) fn draw_all(seed: u64, length: Duration, shape: &[(&'static str, usize)]) -> Vec<Step> {
    let drawn = (0..DRAWS).map(|more| draw(seed.wrapping_add(more), length, shape));
    let is_all = |steps: &Vec<Step>| {
        let harmed = |what: &dyn Fn(Target) -> bool| steps.iter().any(|step| what(step.target));
        harmed(&|it| it == Target::Redis)
            && harmed(&|it| it == Target::Postgres)
            && shape
                .iter()
                .all(|(role, _)| harmed(&|it| matches!(it, Target::Process(of, _) if of == *role)))
    };
    let mut drawn = drawn.filter(is_all);
    drawn.next().unwrap_or_else(|| panic!("{length:?} are too short to harm everything"))
}

/// What goes wrong in so much time, with so many processes of each role.
/// Nothing is harmed twice at the same time.
fn draw(seed: u64, length: Duration, shape: &[(&'static str, usize)]) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut steps: Vec<Step> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(dice.random_range(BETWEEN));
        let step = one(&mut dice, at, shape);
        if step.end() > length {
            return steps;
        }
        let beside = steps.iter().filter(|it| it.end() > at);
        let mut others = beside.clone();
        if beside.count() < AT_ONCE && others.all(|other| other.target != step.target) {
            steps.push(step);
        }
    }
}

fn one(dice: &mut StdRng, at: Duration, shape: &[(&'static str, usize)]) -> Step {
    let (role, count) = *shape.choose(dice).unwrap();
    let process = Target::Process(role, dice.random_range(0..count));
    let (target, harm) = match dice.random_range(0..100) {
        0..30 => (process, Harm::Kill),
        30..50 => (process, Harm::Stop),
        50..80 => way(dice, shape),
        80..84 => (Target::Redis, Harm::Kill),
        84..88 => (Target::Redis, Harm::Empty),
        88..92 => (Target::Redis, Harm::Stop),
        92..96 => (Target::Postgres, Harm::Kill),
        _ => (Target::Postgres, Harm::Stop),
    };
    let range = if is_backend(target) { BACKEND } else { LASTS };
    Step { at, lasts: Duration::from_millis(dice.random_range(range)), target, harm }
}

/// One that is used: gateways have no backends, the call graph has no cycle, and
/// presence is asked only about seekers who fell silent.
fn way(dice: &mut StdRng, shape: &[(&'static str, usize)]) -> (Target, Harm) {
    let called: &[(&str, &[&str])] = &[
        ("gateway", &["chat", "presence", "matchmaking", "ratelimit"]),
        ("matchmaking", &["chat", "ratelimit", "redis", "postgres"]),
        ("chat", &["ratelimit", "cache", "redis", "postgres"]),
        ("presence", &["redis"]),
        ("ratelimit", &["redis"]),
        ("cache", &["redis"]),
    ];
    let count = |role: &str| shape.iter().find(|(of, _)| *of == role).copied().unwrap();
    let (role, of) = called.choose(dice).unwrap();
    let (role, instances) = count(role);
    let to = match *of.choose(dice).unwrap() {
        "redis" => To::Redis,
        "postgres" => To::Postgres,
        peer => {
            let (peer, instances) = count(peer);
            To::Peer(peer, dice.random_range(0..instances))
        }
    };
    let way = Target::Way(role, dice.random_range(0..instances), to);
    (way, *FAULTS.choose(dice).unwrap())
}

fn is_backend(target: Target) -> bool {
    matches!(target, Target::Redis | Target::Postgres)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: &[(&str, usize)] = &[
        ("ratelimit", 1),
        ("cache", 1),
        ("presence", 1),
        ("chat", 2),
        ("matchmaking", 2),
        ("gateway", 3),
    ];
    const LENGTH: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_draws_one_schedule() {
        assert_eq!(draw(7, LENGTH, SHAPE), draw(7, LENGTH, SHAPE));
        assert_ne!(draw(7, LENGTH, SHAPE), draw(8, LENGTH, SHAPE));
    }

    #[test]
    fn a_schedule_keeps_its_bounds() {
        for seed in 0..50 {
            let steps = draw(seed, LENGTH, SHAPE);
            for (at, step) in steps.iter().enumerate() {
                assert!(step.end() <= LENGTH && step.lasts < Duration::from_secs(8), "{step}");
                let beside = || steps[..at].iter().filter(|other| other.end() > step.at);
                assert!(beside().count() < AT_ONCE, "{step}");
                assert!(beside().all(|other| other.target != step.target), "{step}");
            }
        }
    }

    #[test]
    fn everything_is_harmed_in_every_way() {
        let steps: Vec<_> = (0..50).flat_map(|seed| draw(seed, LENGTH, SHAPE)).collect();
        let harmed = |what: &dyn Fn(&Step) -> bool| steps.iter().any(what);
        for (role, count) in SHAPE {
            for nth in 0..*count {
                for harm in [Harm::Kill, Harm::Stop] {
                    let target = Target::Process(role, nth);
                    assert!(harmed(&|it| it.target == target && it.harm == harm), "{role} {nth}");
                }
                let from = |it: &Step| matches!(it.target, Target::Way(of, at, _) if of == *role && at == nth);
                assert!(harmed(&from), "ways from {role} {nth}");
            }
        }
        for target in [Target::Redis, Target::Postgres] {
            for harm in [Harm::Kill, Harm::Stop] {
                assert!(harmed(&|it| it.target == target && it.harm == harm), "{target:?}");
            }
        }
        for harm in FAULTS.into_iter().chain([Harm::Empty]) {
            assert!(harmed(&|it| it.harm == harm), "{harm:?}");
        }
    }

    #[test]
    fn a_short_schedule_leaves_no_backend_and_no_role_out() {
        for seed in 0..50 {
            let steps = draw_all(seed, Duration::from_secs(90), SHAPE);
            let targets: Vec<_> = steps.iter().map(|step| step.target).collect();
            assert!(targets.contains(&Target::Redis) && targets.contains(&Target::Postgres));
            for (role, _) in SHAPE {
                let of = |it: &Target| matches!(it, Target::Process(name, _) if name == role);
                assert!(targets.iter().any(of), "{role}: {targets:?}");
            }
        }
    }
}
