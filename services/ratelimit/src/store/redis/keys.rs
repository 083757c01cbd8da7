//! The keys of a subject.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mingle_store::redis::Redis;
use sha2::{Digest as _, Sha256};

pub(super) struct Keys<'a> {
    redis: &'a Redis,
    tag: String,
}

impl<'a> Keys<'a> {
    pub(super) fn of(redis: &'a Redis, subject: &str) -> Self {
        Self { redis, tag: format!("rl:{}", short(subject)) }
    }

    pub(super) fn limit(&self, name: &str) -> String {
        self.redis.key(&self.tag, &format!("1:l:{name}"))
    }

    pub(super) fn charge(&self, charge_id: &str) -> String {
        self.redis.key(&self.tag, &format!("1:c:{}", short(charge_id)))
    }
}

/// 128 bits of a text's SHA-256.
pub(in crate::store) fn short(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text.as_bytes())[..16])
}
