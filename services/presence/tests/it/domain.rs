//! What a user shows, for any sessions, nodes and times.

use mingle_presence::domain::{Lease, Life, Phase, Shown, Status, Terms, shown};
use proptest::prelude::*;

const SPAN: i64 = 60_000;

fn terms() -> impl Strategy<Value = Terms> {
    (1..10_000_i64, 0..20_000_i64).prop_map(|(lease_ms, grace_ms)| Terms {
        lease_ms,
        grace_ms,
        max_sessions_per_user: 20,
    })
}

fn life() -> impl Strategy<Value = Life> {
    let status = prop_oneof![Just(Status::Away), Just(Status::Busy), Just(Status::Online)];
    let lease = (0..SPAN, proptest::option::of(0..SPAN))
        .prop_map(|(renewed_at, replaced_at)| Lease { renewed_at, replaced_at });
    (lease, 0..SPAN, proptest::option::of(0..SPAN), status).prop_map(
        |(lease, connected_at, closed_at, status)| Life { lease, connected_at, closed_at, status },
    )
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    proptest::collection::vec(life(), 0..6)
}

proptest! {
    #[test]
    fn the_most_present_that_is_not_gone_counts(lives in lives(), now in 0..SPAN, terms in terms()) {
        let present = |life: &&Life| life.phase(now, &terms) != Phase::Gone;
        let status = lives.iter().filter(present).map(|life| life.status).max();
        let live = lives.iter().filter(|life| life.phase(now, &terms) == Phase::Live).count();
        let shown = shown(lives.iter().copied(), now, &terms);
        prop_assert_eq!(shown.status, status);
        prop_assert_eq!(shown.live as usize, live);
        prop_assert_eq!(shown.last_seen, lives.iter().map(Life::seen_at).max());
    }

    #[test]
    fn the_order_of_sessions_does_not_matter(lives in lives(), now in 0..SPAN, terms in terms()) {
        let reversed = lives.iter().rev().copied();
        prop_assert_eq!(shown(reversed, now, &terms), shown(lives.clone(), now, &terms));
    }

    #[test]
    fn closing_a_live_session_changes_nothing_but_the_count(
        mut lives in lives(), status in life(), now in 0..SPAN, mut terms in terms()
    ) {
        // Without a grace there is nothing to return to.
        terms.grace_ms += 1;
        let at = lives.len();
        let lease = Lease { renewed_at: now, replaced_at: None };
        lives.push(Life { lease, connected_at: now, closed_at: None, status: status.status });
        let before = shown(lives.clone(), now, &terms);
        lives[at].closed_at = Some(now);
        let after = shown(lives, now, &terms);
        prop_assert_eq!(after.status, before.status);
        prop_assert_eq!(after.live + 1, before.live);
    }

    #[test]
    fn nothing_is_lost_between_looks(lives in lives(), now in 0..SPAN, later in 0..SPAN, terms in terms()) {
        // Without live sessions the status is the same until `next_at`.
        let ended: Vec<_> =
            lives.into_iter().filter(|life| life.phase(now, &terms) != Phase::Live).collect();
        let before = shown(ended.clone(), now, &terms);
        let then = now + later;
        let after = shown(ended, then, &terms);
        match before.next_at {
            Some(next) if then >= next => prop_assert!(after.status <= before.status),
            _ => prop_assert_eq!(after.status, before.status),
        }
        prop_assert!(before.next_at.is_none_or(|next| next > now));
        prop_assert_eq!(before.next_at.is_some(), before.status.is_some());
    }

    #[test]
    fn a_dead_node_counts_until_lease_and_grace_are_over(life in life(), terms in terms()) {
        let gone_at = life.gone_at(&terms);
        let latest = life.lease.renewed_at + terms.lease_ms + terms.grace_ms;
        prop_assert!(gone_at <= latest);
        prop_assert_eq!(life.phase(gone_at, &terms), Phase::Gone);
        prop_assert_ne!(life.phase(gone_at - 1, &terms), Phase::Gone);
        prop_assert_eq!(shown([life], gone_at, &terms).status, None::<Status>);
    }
}

#[test]
fn nobody_is_offline_and_was_never_seen() {
    let terms = Terms { lease_ms: 3_000, grace_ms: 10_000, max_sessions_per_user: 20 };
    assert_eq!(shown([], 0, &terms), Shown::default());
    assert!(Status::Online > Status::Busy && Status::Busy > Status::Away);
}
