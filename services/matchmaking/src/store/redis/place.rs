//! Where the queue of one pool is, and what its scripts need to know of it.

use std::sync::Arc;

use bytes::Bytes;
use mingle_store::redis::{Arg, Generation, Redis};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::domain::{Pool, Position, queue::DEPTH};

use super::entry;

/// Of the keys' format.
const VERSION: u8 = 1;
/// Keys that nobody writes any more go after this, or twice a ticket's longest
/// wait.
const TTL_MS: i64 = 3_600_000;

/// One pool's queue.
pub(super) struct Place {
    pub(super) pool: Arc<Pool>,
    tag: String,
    buckets: String,
    /// By bucket, whom it may meet, a byte each: there are 256 at most.
    rows: Vec<Bytes>,
    pub(super) swept: Mutex<Option<Position>>,
    pub(super) asked: Mutex<Option<Position>>,
}

impl Place {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        let row = |bucket| {
            let others = pool.compatible(bucket).iter();
            others.map(|it| u8::try_from(it.index()).unwrap_or(u8::MAX)).collect()
        };
        Self {
            pool: pool.clone(),
            tag: format!("mm:{}", pool.name()),
            buckets: print(pool),
            rows: (0..pool.buckets()).filter_map(|at| pool.bucket_at(at)).map(row).collect(),
            swept: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// What its buckets mean: the numbers of another meaning are another
    /// index.
    pub(super) fn buckets(&self) -> &str {
        &self.buckets
    }

    /// `KEYS[1]` of every script.
    pub(super) fn key(&self, redis: &Redis, generation: &Generation) -> String {
        redis.key(&self.tag, format_args!("{VERSION}:{generation}:{}:w", self.buckets))
    }

    /// `ARGV` of `queue.lua`.
    pub(super) fn head(&self, now_ms: i64) -> Vec<Arg> {
        vec![now_ms.into(), TTL_MS.max(self.pool.rules().ticket_ttl_ms.saturating_mul(2)).into()]
    }

    /// `ARGV` of `queue.lua` and `propose.lua`.
    pub(super) fn search(&self, now_ms: i64) -> Vec<Arg> {
        let mut args = self.head(now_ms);
        let rules = self.pool.rules();
        args.extend([rules.alive_ms, rules.recent_partner_relax_ms].map(Arg::from));
        args.push(DEPTH.into());
        args
    }

    pub(super) fn row(&self, bucket: usize) -> Arg {
        self.rows.get(bucket).cloned().unwrap_or_default().into()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Arg> {
        self.rows.iter().cloned().map(Arg::from)
    }
}

/// The lower bound of a range: what is after `from`.
pub(super) fn after(from: Option<&Position>) -> String {
    from.map_or_else(|| "-".to_owned(), |from| format!("({}", entry::position(from)))
}

/// Sixteen hexadecimal digits that stand for a text.
pub(super) fn digest(text: impl AsRef<[u8]>) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// What decides the buckets' numbers and who may meet whom.
fn print(pool: &Pool) -> String {
    let attributes = pool.attributes().iter();
    let attributes: Vec<_> = attributes.map(|it| (&it.name, &it.values, it.required)).collect();
    digest(format!("{} {attributes:?}", pool.rules().mutual))
}
