//! Which of a cluster's slots a key lives in.
//!
//! **Source**: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>

use crc::{CRC_16_XMODEM, Crc, Table};
use redis::{Arg, Cmd};

/// How many there are.
pub(crate) const SLOTS: u16 = 16_384;
const CRC: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);

/// The slot of a key or a channel.
pub(crate) fn slot(key: &[u8]) -> u16 {
    CRC.checksum(tag(key)) % SLOTS
}

/// The slot of what stands behind the command's name: its only or first key.
/// `None` when nothing does, then any server may answer.
pub(in crate::redis) fn of(cmd: &Cmd) -> Option<u16> {
    match cmd.args_iter().nth(1)? {
        Arg::Simple(key) => Some(slot(key)),
        _ => None,
    }
}

/// What is between the first `{` and the next `}`, or all where that is nothing.
fn tag(key: &[u8]) -> &[u8] {
    let find = |of: &[u8], byte| of.iter().position(|it| *it == byte);
    let tagged = find(key, b'{').and_then(|open| {
        let rest = &key[open + 1..];
        find(rest, b'}').map(|close| &rest[..close])
    });
    tagged.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // CLUSTER KEYSLOT says the same.
        for (key, of) in [
            ("123456789", 0x31C3),
            ("foo", 12_182),
            ("{user1000}.following", 3_443),
            ("{user1000}.followers", 3_443),
            ("mingle:{fence}", slot(b"fence")),
            ("foo{}{bar}", slot(b"foo{}{bar}")),
            ("foo{{bar}}zap", slot(b"{bar")),
            ("foo{bar}{zap}", slot(b"bar")),
            ("foo{bar", slot(b"foo{bar")),
        ] {
            assert_eq!(slot(key.as_bytes()), of, "{key}");
        }
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"));
    }

    #[test]
    fn the_key_stands_behind_the_commands_name() {
        assert_eq!(of(redis::cmd("GET").arg("foo")), Some(12_182));
        assert_eq!(of(&redis::cmd("TIME")), None);
    }
}
