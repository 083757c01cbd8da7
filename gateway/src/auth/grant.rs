//! A token by the hand of whoever holds the secret.

use std::collections::BTreeMap;

use mingle_runtime::config::Problems;

use super::token::{Claims, Tokens};
use crate::{config::Config, fault::Fault};

/// What a token is to say; whom it is for and from is configured.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The user's id.
    pub user: String,
    /// What the user may do beyond their own things.
    pub roles: Vec<String>,
    /// Attributes that matchmaking trusts.
    pub attrs: BTreeMap<String, String>,
    /// When it expires, in seconds since 1970.
    pub expires_s: i64,
}

/// Signs a token that every gateway of `config` takes.
///
/// **Errors**: why a gateway would not: the user's id, or the length of all of it.
pub fn sign(config: &Config, grant: Grant) -> Result<String, Problems> {
    let tokens = Tokens::new(&config.jwt_secret, &config.jwt_audience, &config.jwt_issuer);
    let Grant { user, roles, attrs, expires_s } = grant;
    let claims = Claims { sub: user, exp: expires_s, roles, attrs, ..Claims::default() };
    let signed = tokens.sign(claims).and_then(|token| {
        tokens.check_own(&token)?;
        Ok(token)
    });
    signed.map_err(|fault: Fault| {
        let mut problems = Problems::default();
        problems.add("token", fault.message);
        problems
    })
}
