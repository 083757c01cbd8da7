//! Where things are.

use mingle_store::redis::Redis;

use crate::domain::{Key, Mark};

/// The entry and the lease, in this order.
pub(super) fn slot(redis: &Redis, key: &Key) -> [String; 2] {
    let tag = format_args!("c:{}:{}", key.namespace.name, key.name);
    ["1:e", "1:l"].map(|rest| redis.key(tag, rest))
}

/// The version of a tag.
pub(super) fn version(redis: &Redis, mark: &Mark) -> String {
    redis.key(format_args!("ct:{}:{}", mark.namespace.name, mark.tag), "1")
}
