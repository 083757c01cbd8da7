//! What was acknowledged, and what each member heard of it.

use std::collections::BTreeMap;

use super::member::{Bits, Member};
use crate::report::{Report, Side};

/// What went wrong over all rooms.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    acknowledged: u64,
    refused: u64,
    /// Acknowledged messages that a member whose socket stayed did not hear.
    unheard: u64,
    doubled: u64,
    backwards: u64,
    /// Rooms whose members heard everything, in several orders.
    disordered: u64,
    ended: u64,
}

/// Adds what was heard.
pub(super) fn report(report: &mut Report, side: Side, members: &[Member]) {
    let verdict = judge(members);
    if let Some(why) = members.iter().find_map(|it| it.ended.as_ref()) {
        eprintln!("  the first socket that ended: {why}");
    }
    for (name, count) in [
        ("acknowledged", verdict.acknowledged),
        ("refused", verdict.refused),
        ("acknowledged and not heard by a member", verdict.unheard),
        ("heard twice", verdict.doubled),
        ("heard after a later one of its sender", verdict.backwards),
        ("rooms whose members heard several orders", verdict.disordered),
        ("sockets that were ended", verdict.ended),
    ] {
        report.add(name, "", side, count as f64);
    }
}

fn judge(members: &[Member]) -> Verdict {
    let mut rooms: BTreeMap<u32, (Bits, Vec<&Member>)> = BTreeMap::new();
    let mut verdict = Verdict::default();
    for member in members {
        let (taken, of_room) = rooms.entry(member.room).or_default();
        taken.add(&member.taken);
        verdict.refused += member.refused;
        verdict.doubled += member.doubled;
        verdict.backwards += member.backwards;
        if member.ended.is_some() {
            verdict.ended += 1;
        } else {
            of_room.push(member);
        }
    }
    for (taken, of_room) in rooms.values() {
        verdict.acknowledged += taken.count();
        let unheard: u64 = of_room.iter().map(|it| taken.beyond(&it.heard)).sum();
        verdict.unheard += unheard;
        let mut orders = of_room.iter().map(|it| (it.heard.count(), it.order));
        let first = orders.next();
        verdict.disordered += u64::from(unheard == 0 && orders.any(|it| Some(it) != first));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(room: u32, order: u64) -> Member {
        Member { room, order, ..Member::default() }
    }

    #[test]
    fn what_nobody_told_is_no_fault_and_orders_are_compared_within_a_room() {
        let same = [member(0, 1), member(0, 1), member(1, 2)];
        assert_eq!(judge(&same), Verdict::default());
        let two = [member(0, 1), member(0, 3), member(1, 2)];
        assert_eq!(judge(&two), Verdict { disordered: 1, ..Verdict::default() });
        let gone = Member { ended: Some("closed".to_owned()), ..member(0, 3) };
        assert_eq!(judge(&[member(0, 1), gone]), Verdict { ended: 1, ..Verdict::default() });
    }
}
