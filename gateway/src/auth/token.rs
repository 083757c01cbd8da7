//! Users' tokens: JWT (RFC 7519) signed with HS256.
//!
//! The algorithm is ours to choose, never the token's (`alg: none` and key
//! confusion, RFC 8725).

use std::{collections::BTreeMap, sync::Arc};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::{config::Secret, status::Kind};
use serde::{Deserialize, Serialize};

use super::refusals::{Refusals, Why};
use crate::fault::Fault;

/// Clocks of issuers may be off by this much.
const LEEWAY_S: u64 = 30;
/// The same in milliseconds.
pub(crate) const LEEWAY_MS: i64 = 30_000;
const MAX_USER_ID: usize = 128;
/// Longer tokens are not read.
const MAX_TOKEN: usize = 8 * 1024;

/// What a token says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user.
    pub sub: String,
    /// Expiry, seconds since 1970.
    pub exp: i64,
    /// Audience.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub aud: String,
    /// Issuer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// What the user may do beyond their own things.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Attributes that matchmaking trusts.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// Whom the user may watch.
    #[serde(default)]
    pub presence: PresenceClaim,
}

/// The `presence` claim.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PresenceClaim {
    /// Visibility of others.
    #[serde(default)]
    pub visibility: Visibility,
}

/// Whom a user may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Visibility {
    /// Those who share a room with them.
    #[default]
    SharedRoom,
    /// Everybody.
    Any,
}

/// A token's audience may be a list; ours is among them then.
#[derive(Deserialize)]
struct RawClaims {
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Verifies and, in development, signs tokens.
pub(crate) struct Tokens {
    decoding: DecodingKey,
    encoding: EncodingKey,
    validation: Validation,
    audience: String,
    issuer: String,
    refusals: Arc<Refusals>,
}

impl Tokens {
    /// Tokens under `secret`. Empty `audience` or `issuer`: any.
    pub(crate) fn new(secret: &Secret, audience: &str, issuer: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_aud = !audience.is_empty();
        if !audience.is_empty() {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !issuer.is_empty() {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let secret = secret.expose().as_bytes();
        Self {
            decoding: DecodingKey::from_secret(secret),
            encoding: EncodingKey::from_secret(secret),
            validation,
            audience: audience.to_owned(),
            issuer: issuer.to_owned(),
            refusals: Arc::default(),
        }
    }

    /// The tokens that were refused.
    pub(crate) fn refusals(&self) -> Arc<Refusals> {
        self.refusals.clone()
    }

    /// The claims of a good token. One that is refused is counted for the log.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Fault> {
        if token.is_empty() {
            return Err(Fault { kind: Kind::Unauthenticated, ..Fault::required("token") });
        }
        self.check(token).map_err(|(why, fault)| {
            self.refusals.note(why);
            fault
        })
    }

    /// What [`verify`](Self::verify) would say, of a token that nobody sent.
    pub(crate) fn check_own(&self, token: &str) -> Result<(), Fault> {
        self.check(token).map(drop).map_err(|(_, fault)| fault)
    }

    fn check(&self, token: &str) -> Result<Claims, (Why, Fault)> {
        let malformed = |fault| (Why::Malformed, fault);
        if token.len() > MAX_TOKEN {
            let message = "the token is longer than 8192 bytes";
            return Err(malformed(refused(Reason::TokenInvalid, message)));
        }
        let raw: RawClaims = decode(token, &self.decoding, &self.validation)
            .map_err(|error| (Why::from(error.kind()), explain(error.kind())))?
            .claims;
        let claims = self.read(raw.rest).map_err(malformed)?;
        if !is_user_id(&claims.sub) {
            let message = "sub must have 1 to 128 bytes without control characters";
            return Err(malformed(refused(Reason::TokenInvalid, message)));
        }
        Ok(claims)
    }

    fn read(&self, mut raw: serde_json::Map<String, serde_json::Value>) -> Result<Claims, Fault> {
        // The library has checked the audience, one or several.
        raw.insert("aud".to_owned(), self.audience.clone().into());
        serde_json::from_value(raw.into()).map_err(|error| {
            refused(Reason::TokenInvalid, format!("the token's claims cannot be read: {error}"))
        })
    }

    /// Signs a token as its claims are, for whom and from whom is configured.
    pub(crate) fn sign(&self, claims: Claims) -> Result<String, Fault> {
        let claims = Claims { aud: self.audience.clone(), iss: self.issuer.clone(), ..claims };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|_| Fault::new(Kind::Internal, Reason::Internal, "cannot sign a token"))
    }
}

/// True for what can be a user's id.
pub(crate) fn is_user_id(text: &str) -> bool {
    (1..=MAX_USER_ID).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn explain(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::ExpiredSignature => refused(Reason::TokenExpired, "the token has expired"),
        ErrorKind::InvalidAudience => {
            refused(Reason::TokenWrongAudience, "the token is for another audience")
        }
        ErrorKind::InvalidIssuer => {
            refused(Reason::TokenWrongAudience, "the token is from another issuer")
        }
        ErrorKind::MissingRequiredClaim(claim) => {
            refused(Reason::TokenInvalid, format!("the token has no claim {claim}"))
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            refused(Reason::TokenInvalid, "the token is not signed with HS256")
        }
        _ => refused(Reason::TokenInvalid, "the token is malformed or its signature is wrong"),
    }
}

fn refused(reason: Reason, message: impl Into<String>) -> Fault {
    Fault::new(Kind::Unauthenticated, reason, message).at("token")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use mingle_runtime::config::Secret;
    use serde_json::json;

    use super::Tokens;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const FUTURE: i64 = 4_000_000_000;

    fn sign(alg: Algorithm, secret: &str, claims: serde_json::Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(alg), &claims, &key).unwrap()
    }

    fn reason(token: &str) -> String {
        let tokens = Tokens::new(&Secret::new(SECRET), "mingle", "");
        let fault = tokens.verify(token).unwrap_err();
        assert_eq!(fault.field, "token");
        fault.reason
    }

    #[test]
    fn a_good_token_says_who_it_is() {
        let tokens = Tokens::new(&Secret::new(SECRET), "mingle", "");
        for audience in [json!("mingle"), json!(["other", "mingle"])] {
            let claims = json!({"sub": "ann", "exp": FUTURE, "aud": audience,
                "roles": ["admin"], "attrs": {"gender": "female"},
                "presence": {"visibility": "any"}, "extra": 1});
            let claims = tokens.verify(&sign(Algorithm::HS256, SECRET, claims)).unwrap();
            assert_eq!(claims.sub, "ann");
            assert_eq!(claims.attrs["gender"], "female");
        }
    }

    #[test]
    fn every_other_token_is_refused_with_its_reason() {
        let good = json!({"sub": "ann", "exp": FUTURE, "aud": "mingle"});
        let with = |key: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[key] = value;
            sign(Algorithm::HS256, SECRET, claims)
        };
        // {"alg":"none"}.{"sub":"ann","exp":4000000000,"aud":"mingle"}.
        let none =
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjQwMDAwMDAwMDAsImF1ZCI6Im1pbmdsZSJ9.";
        let cases = [
            (String::new(), "REQUIRED"),
            ("garbage".to_owned(), "TOKEN_INVALID"),
            (none.to_owned(), "TOKEN_INVALID"),
            (sign(Algorithm::HS384, SECRET, good.clone()), "TOKEN_INVALID"),
            (sign(Algorithm::HS256, "another secret", good.clone()), "TOKEN_INVALID"),
            (with("exp", json!(1)), "TOKEN_EXPIRED"),
            (with("exp", json!(null)), "TOKEN_INVALID"),
            (with("aud", json!("other")), "TOKEN_WRONG_AUDIENCE"),
            (with("sub", json!("")), "TOKEN_INVALID"),
            (with("sub", json!("a\u{0}b")), "TOKEN_INVALID"),
            (with("sub", json!("x".repeat(129))), "TOKEN_INVALID"),
            (with("attrs", json!("not a map")), "TOKEN_INVALID"),
        ];
        for (token, expected) in cases {
            assert_eq!(reason(&token), expected, "{token}");
        }
    }
}
