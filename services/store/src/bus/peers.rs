//! The other processes, as one source lets them be heard.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::beat::Beat;

/// Processes followed; those beyond are not missed when they fall silent, and
/// what they owe is not known.
const MAX_PEERS: usize = 4096;
/// A missing process is forgotten after this many times the bound.
const FORGET: u32 = 30;
/// A process whose first heard beat has a higher number was not heard before.
const FIRST: u64 = 2;

#[derive(Debug)]
struct Peer {
    heard_at: Instant,
    missing: bool,
    hears_redis: bool,
    owed: u64,
    kinds: u64,
}

/// Who is heard, and whether something was missed.
#[derive(Debug)]
pub(super) struct Peers {
    lost_after: Duration,
    listening_since: Instant,
    known: HashMap<u64, Peer>,
}

impl Peers {
    /// Nobody is known; who is not heard for `lost_after` is missing.
    pub(super) fn new(lost_after: Duration, now: Instant) -> Self {
        Self { lost_after, listening_since: now, known: HashMap::new() }
    }

    /// The source is listened to from now on: nobody is late yet.
    pub(super) fn begin(&mut self, now: Instant) {
        self.listening_since = now;
        self.known.values_mut().for_each(|peer| peer.heard_at = now);
    }

    /// Takes a beat; true when something may have been missed: from a process
    /// that was missing, that was there unheard, or that owes more than is
    /// known.
    pub(super) fn hear(&mut self, beat: &Beat, now: Instant) -> bool {
        let settled = now.duration_since(self.listening_since) >= self.lost_after;
        if beat.leaving {
            return self.known.remove(&beat.id).is_some_and(|peer| peer.owed < beat.owed);
        }
        let Beat { owed, hears_redis, kinds, .. } = *beat;
        let heard = Peer { heard_at: now, missing: false, hears_redis, owed, kinds };
        if let Some(peer) = self.known.get_mut(&beat.id) {
            let missed = peer.missing || peer.owed < owed;
            *peer = heard;
            return missed;
        }
        if self.known.len() >= MAX_PEERS {
            // It is as new with each beat: a gap for each would be one without end.
            return false;
        }
        self.known.insert(beat.id, heard);
        owed > 0 || settled && beat.number > FIRST
    }

    /// Looks for who has fallen silent; true when someone has since the last
    /// look.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let lost_after = self.lost_after;
        let silent = |peer: &Peer| now.duration_since(peer.heard_at);
        self.known.retain(|_, peer| !peer.missing || silent(peer) < lost_after * FORGET);
        let mut anyone = false;
        for peer in self.known.values_mut() {
            if !peer.missing && silent(peer) >= lost_after {
                peer.missing = true;
                anyone = true;
            }
        }
        anyone
    }

    /// True when someone who is there says that Redis does not reach it.
    pub(super) fn anyone_misses_redis(&self) -> bool {
        self.known.values().any(|peer| !peer.hears_redis && !peer.missing)
    }

    /// Those who are there and do any of `kinds`.
    pub(super) fn count(&self, kinds: u64) -> usize {
        let does = |peer: &&Peer| !peer.missing && peer.kinds & kinds != 0;
        self.known.values().filter(does).count()
    }

    /// True when everyone who is there is there for `others` too.
    pub(super) fn are_all_in(&self, others: &Self) -> bool {
        let is_there = |id| others.known.get(id).is_some_and(|peer: &Peer| !peer.missing);
        self.known.iter().all(|(id, peer)| peer.missing || is_there(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(2);

    fn beat(id: u64, number: u64) -> Beat {
        Beat { id, number, owed: 0, hears_redis: true, leaving: false, kinds: 1 }
    }

    fn at(begin: Instant, ms: u64) -> Instant {
        begin + Duration::from_millis(ms)
    }

    #[test]
    fn a_silent_process_is_missed_once_and_again_when_it_is_back() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        assert!(!peers.hear(&beat(1, 1), begin));
        assert!(!peers.sweep(at(begin, 1_999)));
        assert!(peers.sweep(at(begin, 2_000)));
        assert!(!peers.sweep(at(begin, 2_001)), "told once");
        assert!(peers.hear(&beat(1, 9), at(begin, 5_000)), "what it said meanwhile is lost");
        assert!(!peers.hear(&beat(1, 10), at(begin, 6_000)));
    }

    #[test]
    fn who_left_is_not_missed_and_who_is_gone_is_forgotten() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        peers.hear(&beat(1, 1), begin);
        peers.hear(&beat(2, 1), begin);
        assert!(!peers.hear(&Beat { leaving: true, ..beat(1, 2) }, begin));
        peers.hear(&beat(2, 2), at(begin, 1_000));
        assert!(peers.sweep(at(begin, 3_000)), "the second");
        peers.sweep(at(begin, 61_000));
        assert!(peers.known.is_empty());
    }

    #[test]
    fn a_newcomer_is_no_loss_but_one_that_was_there_is() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        assert!(!peers.hear(&beat(1, 70), at(begin, 500)), "it was there before us");
        assert!(!peers.hear(&beat(2, 1), at(begin, 9_000)), "it comes");
        assert!(peers.hear(&beat(3, 70), at(begin, 9_000)), "it was not heard until now");
    }

    #[test]
    fn a_reconnected_source_gives_everyone_time() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        peers.hear(&beat(1, 1), begin);
        peers.begin(at(begin, 10_000));
        assert!(!peers.sweep(at(begin, 11_000)));
        assert!(peers.sweep(at(begin, 12_000)));
    }

    #[test]
    fn what_is_owed_is_told_once() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        peers.hear(&beat(1, 1), begin);
        assert!(peers.hear(&Beat { owed: 1, ..beat(1, 2) }, begin));
        assert!(!peers.hear(&Beat { owed: 1, ..beat(1, 3) }, begin));
        assert!(peers.hear(&Beat { owed: 2, leaving: true, ..beat(1, 4) }, begin));
        assert!(peers.hear(&Beat { owed: 2, ..beat(2, 1) }, begin), "by a newcomer too");
    }

    #[test]
    fn who_misses_redis_counts_while_it_is_there() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        peers.hear(&beat(1, 1), begin);
        assert!(!peers.anyone_misses_redis());
        peers.hear(&Beat { hears_redis: false, ..beat(2, 1) }, begin);
        assert!(peers.anyone_misses_redis());
        peers.sweep(at(begin, 2_000));
        assert!(!peers.anyone_misses_redis(), "it is gone");
    }

    #[test]
    fn those_who_do_the_same_are_counted_while_they_are_there() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        for (id, kinds) in [(1, 0b01), (2, 0b11), (3, 0b10), (4, 0)] {
            peers.hear(&Beat { kinds, ..beat(id, 1) }, begin);
        }
        assert_eq!((peers.count(0b01), peers.count(0b10), peers.count(0b100)), (2, 2, 0));
        peers.hear(&Beat { kinds: 0b11, ..beat(2, 2) }, at(begin, 1_000));
        peers.sweep(at(begin, 2_000));
        assert_eq!(peers.count(0b01), 1, "the other has fallen silent");
        peers.hear(&Beat { leaving: true, ..beat(2, 3) }, at(begin, 2_000));
        assert_eq!(peers.count(0b01), 0);
    }

    #[test]
    fn who_is_heard_here_alone_is_noticed_while_it_is_there() {
        let begin = Instant::now();
        let [mut here, mut there] = [(); 2].map(|()| Peers::new(BOUND, begin));
        assert!(here.are_all_in(&there));
        there.hear(&beat(1, 1), begin);
        assert!(here.are_all_in(&there), "heard there alone");
        here.hear(&beat(2, 1), begin);
        assert!(!here.are_all_in(&there));
        there.hear(&beat(2, 1), begin);
        assert!(here.are_all_in(&there));
        there.sweep(at(begin, 2_000));
        assert!(!here.are_all_in(&there), "silent there");
        here.sweep(at(begin, 2_000));
        assert!(here.are_all_in(&there), "gone");
    }

    #[test]
    fn the_number_of_processes_is_bounded() {
        let begin = Instant::now();
        let mut peers = Peers::new(BOUND, begin);
        (0..5_000).for_each(|id| _ = peers.hear(&beat(id, 1), begin));
        assert_eq!(peers.known.len(), MAX_PEERS);
        let beyond = Beat { owed: 1, ..beat(4_999, 70) };
        assert!(!peers.hear(&beyond, at(begin, 9_000)), "no gap with each beat");
    }
}
