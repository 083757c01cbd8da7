//! In which slots of a cluster the topics are.
//!
//! Each topic is of one of 128 partitions, and each partition has a tag whose slot is
//! near the middle of its 128th of all slots: of slots that are dealt out in ranges
//! three servers have 42 or 43 partitions each, twelve 10 or 11. Tags that are just
//! numbered differ twofold.
//!
//! **Source**: precomputed tags, Centrifugo
//! (<https://centrifugal.dev/docs/server/engines#redis-cluster>)

use std::sync::OnceLock;

use crate::redis::cluster::hash::{SLOTS, slot};

/// All processes must agree on it, and on the tags.
const PARTITIONS: u16 = 128;
/// Slots on either side of the middle that will do.
const NEAR: u16 = 8;

/// Where the topics of a partition are.
#[derive(Debug)]
pub(super) struct Partition {
    /// Between the braces of its channels.
    pub(super) tag: String,
    pub(super) slot: u16,
}

/// All of them, in the order of their slots.
pub(super) fn all() -> &'static [Partition] {
    static ALL: OnceLock<Vec<Partition>> = OnceLock::new();
    ALL.get_or_init(|| {
        let each = SLOTS / PARTITIONS;
        let mut found: Vec<Option<Partition>> = (0..PARTITIONS).map(|_| None).collect();
        let mut missing = found.len();
        for number in 0_u32.. {
            let tag = format!("bus:{number}");
            let slot = slot(tag.as_bytes());
            let place = &mut found[usize::from(slot / each)];
            if place.is_none() && (slot % each).abs_diff(each / 2) <= NEAR {
                *place = Some(Partition { tag, slot });
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        found.into_iter().flatten().collect()
    })
}

/// That of a topic.
pub(super) fn of(topic: &str) -> &'static Partition {
    let partitions = all();
    &partitions[usize::from(slot(topic.as_bytes())) % partitions.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_as_many_within_a_tenth() {
        assert_eq!(all().len(), usize::from(PARTITIONS));
        for servers in 3..=12 {
            // As redis-cli deals them out.
            let each = f64::from(SLOTS) / f64::from(servers);
            let mut has = vec![0_u32; usize::try_from(servers).unwrap()];
            for partition in all() {
                has[(f64::from(partition.slot) / each) as usize] += 1;
            }
            let mean = f64::from(PARTITIONS) / f64::from(servers);
            for count in has {
                let off = (f64::from(count) - mean).abs() / mean;
                assert!(off <= 0.1, "{count} of {mean} on {servers}");
            }
        }
    }

    #[test]
    fn topics_are_of_all_of_them_and_of_the_same_in_every_version() {
        let mut topics = vec![0; all().len()];
        for number in 0..12_800 {
            let partition = of(&format!("room:{number}"));
            topics[all().iter().position(|of| of.slot == partition.slot).unwrap()] += 1;
        }
        assert!(topics.iter().all(|count| (50..200).contains(count)), "{topics:?}");
        let first: Vec<_> = all().iter().take(3).map(|of| (of.tag.as_str(), of.slot)).collect();
        assert_eq!(first, [("bus:1602", 56), ("bus:1606", 188), ("bus:119", 313)]);
    }
}
