//! Where a user's announcements and state go.

/// Fixed, so that topics and keys never grow with users.
pub const PARTITIONS: usize = 256;

/// The partition of a user: the same in every process and version.
pub fn partition(user_id: &str) -> u16 {
    ((mixed(user_id) >> 33) % PARTITIONS as u64) as u16
}

/// One of `buckets` within the partition of a user, by other bits.
pub(crate) fn bucket(user_id: &str, buckets: u64) -> u64 {
    (mixed(user_id) >> 48) % buckets
}

fn mixed(user_id: &str) -> u64 {
    let fnv = user_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV-1a's upper bits hardly know the last bytes: mixed as MurmurHash3 ends.
    (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

#[cfg(test)]
mod tests {
    use super::partition;

    #[test]
    fn partitions_never_change() {
        assert_eq!((partition("ann"), partition("bob")), (198, 196));
    }
}
