//! What a process says of itself on each source, again and again.

use bytes::{BufMut as _, Bytes, BytesMut};

const VERSION: u8 = 1;
const LENGTH: usize = 34;
const HEARS_REDIS: u8 = 1;
const LEAVING: u8 = 2;

/// One heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// Of the process: random.
    pub(super) id: u64,
    /// Its beats on this source so far, from 1.
    pub(super) number: u64,
    /// Announcements it owes to those who listen to this source: each of them
    /// failed, and nothing else took it in this one's place.
    pub(super) owed: u64,
    /// False: what is published on Redis alone does not reach this process.
    pub(super) hears_redis: bool,
    /// The last one.
    pub(super) leaving: bool,
    /// What the process does, a bit each; none where an older one says nothing.
    pub(super) kinds: u64,
}

impl Beat {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(LENGTH);
        bytes.put_u8(VERSION);
        let hears_redis = if self.hears_redis { HEARS_REDIS } else { 0 };
        bytes.put_u8(hears_redis | if self.leaving { LEAVING } else { 0 });
        bytes.put_u64(self.id);
        bytes.put_u64(self.number);
        bytes.put_u64(self.owed);
        bytes.put_u64(self.kinds);
        bytes.freeze()
    }

    /// `None`: of another version, which may say more after what is known.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, flags], numbers) = bytes.split_first_chunk()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let &[id, number, owed, ref more @ ..] = numbers else { return None };
        (version == VERSION).then(|| Self {
            id: u64::from_be_bytes(id),
            number: u64::from_be_bytes(number),
            owed: u64::from_be_bytes(owed),
            hears_redis: flags & HEARS_REDIS != 0,
            leaving: flags & LEAVING != 0,
            kinds: more.first().map_or(0, |kinds| u64::from_be_bytes(*kinds)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Beat;

    #[test]
    fn beats_read_back() {
        for (hears_redis, leaving) in [(false, false), (true, false), (false, true), (true, true)] {
            let beat =
                Beat { id: u64::MAX - 1, number: 7, owed: 3, hears_redis, leaving, kinds: 5 };
            assert_eq!(Beat::decode(&beat.encode()), Some(beat));
            let older = Beat { kinds: 0, ..beat };
            assert_eq!(Beat::decode(&beat.encode()[..26]), Some(older), "it says no kinds");
            assert_eq!(Beat::decode(&beat.encode()[..25]), None);
        }
        assert_eq!(Beat::decode(&[2; 26]), None, "another version");
        assert_eq!(Beat::decode(b""), None);
    }
}
