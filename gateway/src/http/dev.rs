//! `POST /api/dev/token`: anybody is whoever they say. Only in development.

use std::sync::Arc;

use axum::extract::State;
use http::HeaderMap;
use mingle_proto::{Timestamp, errors::v1::Reason, gateway::v1 as pb};
use mingle_runtime::status::Kind;

use super::body::{Body, Reply};
use crate::{auth::token::Claims, fault::Fault, gateway::Gateway};

/// Signs a token for `userId`.
pub(super) async fn token(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Body(body): Body<pb::DevTokenBody>,
) -> Result<Reply<pb::DevToken>, Fault> {
    if !gateway.is_own_host(&headers) {
        let message = "ask for this machine by a name of its own, or list the one you use in \
                       gateway.allowed_origins";
        return Err(Fault::new(Kind::Denied, Reason::OriginNotAllowed, message).at("host"));
    }
    if body.user_id.is_empty() {
        return Err(Fault::required("userId"));
    }
    let expires_ms = (gateway.now)() + i64::from(gateway.config.dev_token_ttl_ms);
    let claims = Claims {
        sub: body.user_id,
        exp: expires_ms / 1000,
        roles: body.roles,
        attrs: body.attrs.into_iter().collect(),
        ..Claims::default()
    };
    let token = gateway.tokens.sign(claims)?;
    // What we hand out must be good: the same rules for the user id.
    gateway
        .tokens
        .check_own(&token)
        .map_err(|fault| Fault { kind: Kind::Invalid, ..fault.at("userId") })?;
    let expires_at = Some(Timestamp::from_millis(expires_ms));
    Ok(Reply(pb::DevToken { token, expires_at }))
}
