//! Who asks, as far as is known before a route is chosen.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;

use super::{Address, classes::Class};
use crate::{auth::token::Claims, fault::Fault, gateway::Gateway, listen::Peer};

/// The sender of a request.
#[derive(Clone)]
pub(crate) struct Asker {
    /// Where it came from.
    pub(crate) address: Address,
    /// By `Authorization: Bearer`; none without, or where nothing is charged.
    pub(crate) user: Option<Result<Claims, Fault>>,
}

/// Learns who asks; routes and limits find it among the request's extensions.
pub(super) async fn learn(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        tracing::error!("a request came by no connection");
        return Fault::new(Kind::Internal, Reason::Internal, "internal error").into_response();
    };
    let address = Address::of(peer, request.headers(), &gateway.config.trusted_proxies);
    let is_charged = Class::of(request.uri().path()).is_some();
    let token = is_charged.then(|| bearer(request.headers())).flatten();
    let verify = |token| gateway.tokens.verify(token).map_err(|fault| fault.at("authorization"));
    let user = token.map(verify);
    request.extensions_mut().insert(Asker { address, user });
    next.run(request).await
}

/// The scheme's name is case-insensitive (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
