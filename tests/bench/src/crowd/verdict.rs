//! What was acknowledged, and what each member heard of it.

use std::collections::BTreeMap;

use super::member::{Bits, Member};
use crate::report::{Report, Side};

/// What went wrong over all rooms.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    acknowledged: u64,
    refused: u64,
    /// Said, and neither acknowledged nor refused.
    unanswered: u64,
    /// Acknowledged messages that a member whose socket stayed did not hear.
    unheard: u64,
    /// The same of those whose sockets ended.
    cut_off: u64,
    doubled: u64,
    backwards: u64,
    /// Rooms in which two who heard the same heard it in several orders.
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
        ("said and never answered", verdict.unanswered),
        ("acknowledged and not heard by a member", verdict.unheard),
        ("the same by a member whose socket ended", verdict.cut_off),
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
        verdict.unanswered += member.said.len() as u64;
        verdict.doubled += member.doubled;
        verdict.backwards += member.backwards;
        verdict.ended += u64::from(member.ended.is_some());
        of_room.push(member);
    }
    for (taken, of_room) in rooms.values() {
        verdict.acknowledged += taken.count();
        for member in of_room {
            let lacks = taken.beyond(&member.heard);
            let whose =
                if member.ended.is_some() { &mut verdict.cut_off } else { &mut verdict.unheard };
            *whose += lacks;
        }
        let differ = |(at, one): (usize, &&Member)| {
            of_room[..at].iter().any(|it| it.heard == one.heard && it.order != one.order)
        };
        verdict.disordered += u64::from(of_room.iter().enumerate().any(differ));
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
        let gone = Member { ended: Some("closed".to_owned()), ..member(0, 1) };
        assert_eq!(judge(&[member(0, 1), gone]), Verdict { ended: 1, ..Verdict::default() });
    }
}
