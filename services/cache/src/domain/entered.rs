//! What a caller brings.

use super::{Key, Tag, Value};

/// A value to be kept.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Where.
    pub key: Key,
    /// What.
    pub value: Value,
    /// What it carries, with what is carried by that and the namespace's own.
    pub tags: Vec<Tag>,
    /// For how long it is fresh, instead of the namespace's.
    pub soft_us: Option<u64>,
    /// For how long it is served, instead of the namespace's.
    pub hard_us: Option<u64>,
}

impl Entered {
    /// Its soft and hard lifetime; `by` of 0 to 1 is where in the jitter it falls.
    pub fn lifetime(&self, by: f64) -> (u64, u64) {
        let Self { key, value, soft_us, hard_us, .. } = self;
        key.namespace.lifetime(value.absent, *soft_us, *hard_us, by)
    }
}
