//! What goes wrong in a run, and when: a schedule drawn from a seed, and who
//! carries it out.
//!
//! The same seed draws the same schedule and the same choices of people. Real
//! processes answer sooner or later, so two runs of one seed are alike and not
//! the same.

mod run;
mod schedule;

pub(crate) use run::run;
pub(crate) use schedule::{Harm, Step, Target, draw_all};

/// The seed of a run: `MINGLE_TEST_SEED` when a run is to be repeated.
pub(crate) fn seed() -> u64 {
    match std::env::var_os("MINGLE_TEST_SEED") {
        Some(named) => named.to_str().and_then(|it| it.parse().ok()).expect("a number"),
        None => rand::random(),
    }
}
