//! The keys of a subject.

use mingle_store::redis::Redis;

use crate::store::name::short;

pub(super) struct Keys<'a> {
    redis: &'a Redis,
    tag: String,
}

impl<'a> Keys<'a> {
    pub(super) fn of(redis: &'a Redis, subject: &str) -> Self {
        Self { redis, tag: format!("rl:{}", short(subject)) }
    }

    pub(super) fn limit(&self, name: &str) -> String {
        self.redis.key(&self.tag, format_args!("1:l:{name}"))
    }

    pub(super) fn charge(&self, charge_id: &str) -> String {
        self.redis.key(&self.tag, format_args!("1:c:{}", short(charge_id)))
    }
}
