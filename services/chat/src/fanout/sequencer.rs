//! Brings events into order.

use std::collections::BTreeMap;

use mingle_proto::chat::v1::{Event, Position};

/// Events that wait for those before them; beyond, the latest are let go, to
/// be read from the store with the rest.
const HELD: usize = 256;

/// Passes on each event of a room once, in order of seq.
#[derive(Debug)]
pub(super) struct Sequencer {
    last: Position,
    held: BTreeMap<u64, Event>,
    /// An event was let go: there is more than is held.
    dropped: bool,
}

impl Sequencer {
    /// Goes on after `last`.
    pub(super) fn new(last: Position) -> Self {
        Self { last, held: BTreeMap::new(), dropped: false }
    }

    /// The last event passed on.
    pub(super) fn last(&self) -> &Position {
        &self.last
    }

    /// Takes events in any order, some for the second time; returns those
    /// that are due, consecutive.
    pub(super) fn offer(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut due = Vec::with_capacity(events.len());
        for event in events {
            if event.seq == self.last.seq + 1 {
                self.pass(event, &mut due);
            } else if event.seq > self.last.seq {
                self.held.insert(event.seq, event);
            }
            while let Some(next) = self.held.remove(&(self.last.seq + 1)) {
                self.pass(next, &mut due);
            }
        }
        while self.held.len() > HELD {
            self.held.pop_last();
            self.dropped = true;
        }
        due
    }

    fn pass(&mut self, event: Event, due: &mut Vec<Event>) {
        // After a jump the same event may be held as well.
        self.held.remove(&event.seq);
        self.last = Position { seq: event.seq, id: event.id.clone() };
        due.push(event);
    }

    /// Something before what it has seen is missing.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty() || self.dropped
    }

    /// The store will be read to its end: what was let go until now comes with
    /// it, what is let go from now on may be younger.
    pub(super) fn forget_dropped(&mut self) {
        self.dropped = false;
    }

    /// Goes on after `last`: what is between is no longer kept anywhere.
    pub(super) fn jump(&mut self, last: Position) {
        self.held = self.held.split_off(&(last.seq + 1));
        self.last = last;
    }
}

#[cfg(test)]
mod tests {
    use mingle_proto::chat::v1::{Event, Position};
    use proptest::prelude::*;

    use super::{HELD, Sequencer};

    fn event(seq: u64) -> Event {
        Event { seq, id: format!("id-{seq}"), ..Default::default() }
    }

    proptest! {
        #[test]
        fn any_order_with_copies_comes_out_once_and_in_order(
            order in Just((1..=40_u64).chain(1..=40).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let mut sequencer = Sequencer::new(Position::default());
            let mut passed = Vec::new();
            for seq in order {
                passed.extend(sequencer.offer(vec![event(seq)]).into_iter().map(|e| e.seq));
            }
            prop_assert_eq!(passed, (1..=40).collect::<Vec<_>>());
            prop_assert!(!sequencer.is_waiting());
            prop_assert_eq!(&sequencer.last().id, "id-40");
        }
    }

    #[test]
    fn a_hole_waits_and_what_is_held_is_bounded() {
        let mut sequencer = Sequencer::new(Position { seq: 5, id: "id-5".into() });
        assert!(sequencer.offer((7..2000).map(event).collect()).is_empty());
        assert!(sequencer.is_waiting());
        assert_eq!(sequencer.held.len(), HELD);
        let due = sequencer.offer(vec![event(6)]);
        assert_eq!(due.len(), HELD + 1);
        assert!(sequencer.is_waiting(), "the rest was let go");
        let rest: Vec<_> = (due.len() as u64 + 6..2000).map(event).collect();
        assert_eq!(sequencer.offer(rest).last().map(|e| e.seq), Some(1999));
        sequencer.forget_dropped();
        assert!(!sequencer.is_waiting());
    }

    #[test]
    fn a_jump_forgets_what_is_behind_it() {
        let mut sequencer = Sequencer::new(Position::default());
        assert!(sequencer.offer(vec![event(3), event(9)]).is_empty());
        sequencer.jump(Position { seq: 7, id: String::new() });
        assert!(sequencer.offer(vec![event(3)]).is_empty());
        let due: Vec<_> = sequencer.offer(vec![event(8)]).into_iter().map(|e| e.seq).collect();
        assert_eq!(due, [8, 9]);
    }
}
