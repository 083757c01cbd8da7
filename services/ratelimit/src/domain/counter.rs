//! What every algorithm does with its state.

use std::mem;

use super::limit::{Mark, Standing, State};

/// An algorithm with the numbers of a limit.
pub(super) trait Counter {
    /// What a subject used.
    type State: Default;

    /// As it is kept.
    fn kept(own: Self::State) -> State;

    /// The state, if it is one of this algorithm.
    fn own(state: &mut State) -> Option<&mut Self::State>;

    /// The same, to be looked at.
    fn seen(state: &State) -> Option<&Self::State>;

    /// Where the state stands; cost 0 is always admitted.
    fn judge(&self, state: &Self::State, now_us: u64, cost: u64) -> Standing;

    /// Counts a cost that was admitted.
    fn charge(&self, state: &mut Self::State, now_us: u64, cost: u64) -> Mark;

    /// Gives back what is still held of a charge; false when nothing is.
    fn refund(&self, state: &mut Self::State, now_us: u64, cost: u64, mark: Mark) -> bool;

    /// Makes it as if unused, and so that nothing of before is given back to it.
    fn reset(&self, state: &mut Self::State, now_us: u64);

    /// When the state is as if unused.
    fn ends_us(&self, state: &Self::State) -> u64;
}

/// Keeps the states of an algorithm as this variant of [`State`].
macro_rules! kept_as {
    ($variant:ident) => {
        fn kept(own: Self::State) -> State {
            State::$variant(own)
        }

        fn own(state: &mut State) -> Option<&mut Self::State> {
            if let State::$variant(own) = state { Some(own) } else { None }
        }

        fn seen(state: &State) -> Option<&Self::State> {
            if let State::$variant(own) = state { Some(own) } else { None }
        }
    };
}

pub(super) use kept_as;

/// A state of another algorithm counts as unused.
pub(super) fn judge<C: Counter>(
    counter: &C,
    state: Option<&State>,
    now_us: u64,
    cost: u64,
) -> Standing {
    let unused = C::State::default();
    counter.judge(state.and_then(C::seen).unwrap_or(&unused), now_us, cost)
}

/// The same.
pub(super) fn charge<C: Counter>(
    counter: &C,
    mut state: Option<State>,
    now_us: u64,
    cost: u64,
) -> (State, Mark) {
    let own = state.as_mut().and_then(C::own);
    let mut own = own.map(mem::take).unwrap_or_default();
    let mark = counter.charge(&mut own, now_us, cost);
    (C::kept(own), mark)
}

/// Nothing is given back to a state of another algorithm.
pub(super) fn refund<C: Counter>(
    counter: &C,
    state: &mut State,
    now_us: u64,
    cost: u64,
    mark: Mark,
) -> bool {
    C::own(state).is_some_and(|own| counter.refund(own, now_us, cost, mark))
}

/// A state of another algorithm counts as unused.
pub(super) fn reset<C: Counter>(counter: &C, state: &mut State, now_us: u64) {
    if let Some(own) = C::own(state) {
        counter.reset(own, now_us);
    }
}

/// A state of another algorithm has ended.
pub(super) fn ends_us<C: Counter>(counter: &C, state: &State) -> u64 {
    C::seen(state).map_or(0, |own| counter.ends_us(own))
}
