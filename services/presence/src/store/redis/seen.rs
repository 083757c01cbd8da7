//! When users who are offline were last seen.

use std::collections::HashMap;

use mingle_store::{
    Result,
    redis::{Arg, Batch, Call, Redis, Script},
};

use super::{codec::pack, keys::Era};
use crate::domain::PARTITIONS;

static SEEN: Script = Script::new("seen", include_str!("../../../lua/seen.lua"));

/// Users of one set, unless there are more sets than partitions.
const SHARD: usize = 4_096;
const LIVES_MS: i64 = 30 * 24 * 3_600_000;

/// Remembers a bounded number of users; beyond it, those seen longest ago are
/// forgotten, set by set.
pub(super) struct Seen {
    redis: Redis,
    shards: usize,
    each: usize,
}

impl Seen {
    pub(super) fn new(redis: Redis, max: usize) -> Self {
        let shards = (max / SHARD).clamp(1, PARTITIONS);
        Self { redis, shards, each: max.div_ceil(shards) }
    }

    pub(super) async fn record(&self, era: &Era, users: &[(&str, i64)]) -> Result<()> {
        let mut shards: HashMap<String, Vec<Arg>> = HashMap::new();
        for (user_id, at) in users {
            let args = shards.entry(era.seen(user_id, self.shards));
            let args = args.or_insert_with(|| vec![self.each.into(), LIVES_MS.into()]);
            args.extend([(*at).into(), pack(user_id).into()]);
        }
        if shards.is_empty() {
            return Ok(());
        }
        let calls = shards.into_iter().map(|(key, args)| Call { keys: vec![key], args });
        let calls: Vec<_> = calls.collect();
        for answer in self.redis.run_many::<i64>(&SEEN, &calls).await? {
            answer?;
        }
        Ok(())
    }

    /// The last proof of life of each, in the order asked.
    pub(super) async fn get(&self, era: &Era, user_ids: &[&str]) -> Result<Vec<Option<i64>>> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::new();
        for user_id in user_ids {
            batch.ask("ZSCORE").arg(era.seen(user_id, self.shards)).arg(pack(user_id));
        }
        let scores: Vec<Option<f64>> = self.redis.pipeline(&batch).await?;
        // Milliseconds are whole far beyond the years a double can count.
        Ok(scores.into_iter().map(|score| score.map(|at| at as i64)).collect())
    }
}
