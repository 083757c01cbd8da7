//! The keys, but one all of one generation of the server's data: a server that
//! restarted begins cold, and what a late command writes to an older
//! generation nobody reads. When somebody was last seen only grows, so that no
//! restart makes it wrong.
//!
//! | key | holds | lives |
//! | --- | --- | --- |
//! | `{p:<0..255>}:<g>:u:<0..15>` | hash user → value of at most 64 bytes | 24 h |
//! | `{p:<0..255>}:<g>:w:<0..15>` | hash user → longer value | 24 h |
//! | `{p:<0..255>}:<g>:c` | hash of counters: `users`, `sessions`, open sockets by start | 24 h |
//! | `{p:<0..255>}:<g>:due` | zset user → ms when to look | 24 h |
//! | `{p:due}:<g>` | zset partition → ms of its earliest planned look | 24 h |
//! | `{p:nodes}:<g>:nodes` | hash node id → its starts | 1 h |
//! | `{p:nodes}:<g>:sweep` | who sweeps | the lease |
//! | `{p:seen:<n>}:1` | zset user → ms of the last proof of life | 30 days |
//!
//! Writes begin the time anew. Whoever stays online for days writes nothing:
//! so the sweep begins that of the partitions anew, too, each within six hours.

use std::fmt::Display;

use mingle_store::redis::{Generation, Redis};

use crate::domain::{PARTITIONS, bucket, partition};

/// Hashes of one partition: at 500,000 users each has 122, and 128 is up to
/// where Redis keeps it as a listpack.
pub(super) const BUCKETS: u64 = 16;

/// The form of what is kept of those who are offline.
const SEEN_VERSION: &str = "1";

/// The keys of one generation.
#[derive(Clone)]
pub(super) struct Era {
    redis: Redis,
    /// Eight digits tell generations apart well enough, and are in each key.
    short: String,
}

/// The keys of a user.
pub(super) struct UserKeys {
    pub(super) narrow: String,
    pub(super) wide: String,
}

impl Era {
    pub(super) fn new(redis: &Redis, generation: &Generation) -> Self {
        let short = generation.as_str().chars().take(8).collect();
        Self { redis: redis.clone(), short }
    }

    pub(super) fn name(&self) -> &str {
        &self.short
    }

    fn of(&self, partition: usize, rest: impl Display) -> String {
        self.redis.key(format_args!("p:{partition}"), format_args!("{}:{rest}", self.short))
    }

    pub(super) fn user(&self, user_id: &str) -> UserKeys {
        let (partition, bucket) = (partition(user_id), bucket(user_id, BUCKETS));
        UserKeys {
            narrow: self.of(partition.into(), format_args!("u:{bucket}")),
            wide: self.of(partition.into(), format_args!("w:{bucket}")),
        }
    }

    /// The hashes of users of a partition.
    pub(super) fn users(&self, partition: usize) -> Vec<String> {
        let of = |kind: &str, bucket: u64| self.of(partition, format_args!("{kind}:{bucket}"));
        (0..BUCKETS).flat_map(|at| [of("u", at), of("w", at)]).collect()
    }

    pub(super) fn counts(&self, partition: usize) -> String {
        self.of(partition, "c")
    }

    pub(super) fn due(&self, partition: usize) -> String {
        self.of(partition, "due")
    }

    pub(super) fn hints(&self) -> String {
        self.redis.key("p:due", &self.short)
    }

    pub(super) fn nodes(&self) -> String {
        self.redis.key("p:nodes", format_args!("{}:nodes", self.short))
    }

    pub(super) fn sweep(&self) -> String {
        self.redis.key("p:nodes", format_args!("{}:sweep", self.short))
    }

    /// Where a user's last proof of life is, of `shards`: the same in every
    /// generation.
    pub(super) fn seen(&self, user_id: &str, shards: usize) -> String {
        let shard = usize::from(partition(user_id)) * shards / PARTITIONS;
        self.redis.key(format_args!("p:seen:{shard}"), SEEN_VERSION)
    }
}
