//! The arithmetic by itself: what each algorithm promises, against a model that
//! only remembers what was admitted.

use mingle_ratelimit::{
    Config,
    domain::{Algorithm, Limit, Outage},
};
use mingle_runtime::{Context, config::Section as _};
use proptest::prelude::*;

pub(crate) fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    use Algorithm::{Concurrency, FixedWindow, Gcra, SlidingWindow, TokenBucket};
    prop_oneof![
        3 => Just(SlidingWindow),
        2 => Just(Gcra),
        1 => Just(TokenBucket),
        2 => Just(FixedWindow),
        2 => Just(Concurrency),
    ]
}

/// The most that any window of its length holds, as the documents say.
pub(crate) fn promised(limit: &Limit) -> u64 {
    match limit.algorithm {
        Algorithm::SlidingWindow | Algorithm::Concurrency => limit.quota,
        Algorithm::Gcra | Algorithm::TokenBucket => limit.quota + limit.burst,
        Algorithm::FixedWindow => 2 * limit.quota,
    }
}

/// The most that stands between two multiples of its length.
pub(crate) fn most_between_edges(limit: &Limit, stands: &[(u64, u64)]) -> u64 {
    let mut by_edge = std::collections::BTreeMap::<u64, u64>::new();
    for (at, cost) in stands {
        *by_edge.entry(at / limit.window_us).or_default() += cost;
    }
    by_edge.into_values().max().unwrap_or(0)
}

/// Small numbers, so that all edges are met.
fn limit() -> impl Strategy<Value = Limit> {
    let quota = prop_oneof![3 => 1..=12_u64, 1 => 257..=300_u64];
    (any_algorithm(), quota, 1..=2_000_u64, 1..=12_u64).prop_map(
        |(algorithm, quota, window_us, burst)| Limit {
            name: "limit".into(),
            algorithm,
            quota,
            window_us: match algorithm {
                Algorithm::Gcra | Algorithm::TokenBucket => window_us.max(quota),
                _ => window_us,
            },
            burst: burst.min(quota),
            outage: Outage::Local,
            shadow: false,
            parts: 1,
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Back(u64),
    Take(u64),
    Refund(prop::sample::Index),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop_oneof![0..60_u64, 0..2_500_u64].prop_map(Step::Pass),
        1 => prop_oneof![2 => 0..100_u64, 1 => 0..2_500_u64].prop_map(Step::Back),
        8 => prop_oneof![4 => 1..4_u64, 1 => 1..320_u64].prop_map(Step::Take),
        3 => any::<prop::sample::Index>().prop_map(Step::Refund),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..120)
}

/// The most that stands in any window of its length.
pub(crate) fn most_in_a_window(limit: &Limit, stands: &[(u64, u64)]) -> u64 {
    let from = |begin: u64| {
        let within = |at: u64| begin <= at && at < begin + limit.window_us;
        stands.iter().filter(|(at, _)| within(*at)).map(|(_, cost)| cost).sum()
    };
    stands.iter().map(|(at, _)| from(*at)).max().unwrap_or(0)
}

fn run(limit: &Limit, steps: &[Step], with_refunds: bool) -> Result<(), TestCaseError> {
    let (mut now, mut latest, mut forward) = (1_000_000_u64, 0, true);
    let mut state = None;
    // When it was admitted, the cost, and what giving it back needs.
    let mut charges = Vec::new();
    // The same, of before a reset.
    let mut gone = Vec::new();
    for step in steps {
        match step {
            Step::Pass(us) => now += us,
            Step::Back(us) => {
                now -= us;
                forward = false;
            }
            Step::Take(cost) => {
                let standing = limit.judge(state.as_ref(), now, *cost);
                if standing.allowed {
                    // A clock that went back is held to have stood still.
                    latest = now.max(latest);
                    let (charged, mark) = limit.charge(state.take(), now, *cost);
                    charges.push((latest, *cost, mark, now));
                    state = Some(charged);
                } else if standing.retry_us < u64::MAX {
                    let then = now + standing.retry_us;
                    prop_assert!(limit.judge(state.as_ref(), then, *cost).allowed);
                    prop_assert!(!limit.judge(state.as_ref(), then - 1, *cost).allowed);
                }
                let rest = limit.judge(state.as_ref(), now, 0);
                if rest.remaining > 0 {
                    prop_assert!(limit.judge(state.as_ref(), now, rest.remaining).allowed);
                }
                prop_assert!(!limit.judge(state.as_ref(), now, rest.remaining + 1).allowed);
            }
            Step::Refund(index) if with_refunds && !charges.is_empty() => {
                let (_, cost, mark, _) = charges.remove(index.index(charges.len()));
                if let Some(state) = &mut state {
                    latest = now.max(latest);
                    limit.refund(state, now, cost, mark);
                }
            }
            Step::Refund(_) => {}
            Step::Reset => {
                if let Some(state) = &mut state {
                    latest = now.max(latest);
                    limit.reset(state, now);
                    let unused = limit.judge(Some(state), now, 0);
                    prop_assert_eq!((unused.reset_us, unused), (0, limit.judge(None, now, 0)));
                }
                gone.append(&mut charges);
            }
        }
        for (_, cost, mark, _) in gone.iter().filter(|_| with_refunds) {
            let mut tried = state.clone();
            let given = tried.as_mut().is_some_and(|state| limit.refund(state, now, *cost, *mark));
            prop_assert!(!given, "given back although it was reset");
        }
        let stands: Vec<_> = charges.iter().map(|(at, cost, ..)| (*at, *cost)).collect();
        prop_assert!(most_in_a_window(limit, &stands) <= promised(limit), "{:?}", stands);
        let is_fixed = limit.algorithm == Algorithm::FixedWindow;
        prop_assert!(
            !is_fixed || most_between_edges(limit, &stands) <= limit.quota,
            "{:?}",
            stands
        );
        let never = charges
            .iter()
            .fold(None, |state, (_, cost, _, now)| Some(limit.charge(state, *now, *cost).0));
        let left = |state: &Option<_>| limit.judge(state.as_ref(), now, 0).reset_us;
        let fair = !forward || left(&state) >= left(&never);
        prop_assert!(fair, "giving back gave more than was taken");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_holds_more_than_promised(limit in limit(), steps in steps()) {
        run(&limit, &steps, false)?;
    }

    #[test]
    fn nor_when_charges_are_given_back(limit in limit(), steps in steps()) {
        run(&limit, &steps, true)?;
    }
}

/// A pace that is reset does not forget the time, even where the clock is behind it.
#[test]
fn a_reset_frees_nothing_twice_when_the_clock_goes_back() {
    let limit = Limit {
        name: "limit".into(),
        algorithm: Algorithm::Gcra,
        quota: 2,
        window_us: 1_000,
        burst: 4,
        outage: Outage::Local,
        shadow: false,
        parts: 1,
    };
    let after = [
        [Step::Reset, Step::Back(1_500), Step::Take(4)],
        [Step::Back(1_500), Step::Reset, Step::Take(4)],
    ];
    for after in after {
        let mut steps = vec![Step::Take(1)];
        steps.extend(after);
        steps.extend((0..3).flat_map(|_| [Step::Pass(500), Step::Take(1)]));
        run(&limit, &steps, true).unwrap();
    }
}

/// What stands in a schedule after refunds is never less than if what was
/// given back had never been charged.
#[test]
fn a_refund_after_a_refund_gives_no_more_than_was_taken() {
    let limit = Limit {
        name: "limit".into(),
        algorithm: Algorithm::Gcra,
        quota: 100,
        window_us: 1_000,
        burst: 20,
        outage: Outage::Local,
        shadow: false,
        parts: 1,
    };
    let (state, large) = limit.charge(None, 1_000, 10);
    let (mut state, small) = limit.charge(Some(state), 1_000, 1);
    assert!(limit.refund(&mut state, 1_005, 10, large));
    let (mut state, _) = limit.charge(Some(state), 1_012, 1);
    assert!(limit.refund(&mut state, 1_013, 1, small));
    let (never, _) = limit.charge(None, 1_012, 1);
    assert!(limit.ends_us(&state) >= limit.ends_us(&never), "{state:?}, {never:?}");
}

#[test]
fn configuration_names_each_problem() {
    let read = |text: &str| Context::for_test(&[Config::DEFAULTS], text).config.read::<Config>();
    let limits = read("").unwrap().limits();
    let chat = &limits["chat_message"];
    assert_eq!((chat.quota, chat.window_us), (30, 60_000_000));
    assert_eq!(limits["auth"].outage, Outage::Closed);
    assert_eq!(limits["auth"].window_us, 900_000_000);
    let one = |rest: &str| format!("[ratelimit.limits.mine]\n{rest}");
    for (text, named) in [
        (one("algorithm = \"gcra\"\nquota = 0\nwindow = \"1m\""), "ratelimit.limits.mine.quota"),
        (one("algorithm = \"gcra\"\nquota = 2\nwindow = \"soon\""), "ratelimit.limits.mine.window"),
        (one("algorithm = \"gcra\"\nquota = 2\nwindow = \"1m\"\nburst = 3"), "mine.burst"),
        (one("algorithm = \"gcra\"\nquota = 2000\nwindow = \"1ms\""), "mine.quota"),
        (one("algorithm = \"fixed_window\"\nquota = 2\nwindow = \"1m\"\nburst = 1"), "mine.burst"),
        (one("algorithm = \"concurrency\"\nquota = 2\nwindow = \"1m\"\nburst = 1"), "mine.burst"),
        (one("algorithm = \"fastest\"\nquota = 2\nwindow = \"1m\""), "algorithm"),
        (one("algorithm = \"gcra\"\nquota = 2\nwindow = \"400d\""), "mine.window"),
        (one("algorithm = \"gcra\"\nquota = 2\nwindow = \"1m\"\nbrust = 1"), "brust"),
        (
            "[ratelimit.limits.\"a b\"]\nalgorithm = \"gcra\"\nquota = 2\nwindow = \"1m\""
                .to_owned(),
            "a b",
        ),
        ("[ratelimit]\ntimeout_ms = 0".to_owned(), "ratelimit.timeout_ms"),
    ] {
        let problems = read(&text).unwrap_err().to_string();
        assert!(problems.contains(named), "{named} is not in {problems}");
    }
}
