//! Users' tokens, signed by the secret that the server is started with.

use anyhow::Context as _;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;

/// The secret of the server under test.
pub(crate) const SECRET: &str = "the secret of servers that are measured";
/// Longer than any measurement.
const LIFE_S: u64 = 24 * 3600;

/// A token of `user`.
pub(crate) fn mint(user: &str) -> anyhow::Result<String> {
    let claims = json!({"sub": user, "aud": "mingle", "exp": get_current_timestamp() + LIFE_S});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).context("cannot sign a token")
}
