//! `/api/presence`.

use std::sync::Arc;

use axum::extract::State;
use mingle_proto::{errors::v1::Reason, gateway::v1 as pb};

use super::{
    access::{Caller, Query},
    body::Reply,
};
use crate::{fault::Fault, gateway::Gateway, translate, ws::check_visible};

/// `GET /api/presence?user=ann&user=bob`
pub(super) async fn read(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    query: Query,
) -> Result<Reply<pb::Presences>, Fault> {
    let users = query.only(&["user"])?.all("user");
    let max = gateway.config.limits.watched_users;
    if users.is_empty() {
        return Err(Fault::required("user"));
    }
    if users.len() > max {
        let message = format!("at most {max} users are read at once");
        return Err(Fault::invalid(Reason::TooLong, "user", message));
    }
    check_visible(&gateway, &caller.0, &users).await.map_err(|fault| fault.at("user"))?;
    let presences = gateway.people.read(users).await?;
    Ok(Reply(pb::Presences { presences: presences.into_iter().map(translate::presence).collect() }))
}

/// `GET /api/presence/count`
pub(super) async fn count(
    State(gateway): State<Arc<Gateway>>,
    _caller: Caller,
) -> Result<Reply<pb::PresenceCount>, Fault> {
    let count = gateway.people.count().await?;
    Ok(Reply(pb::PresenceCount { users: count.users, sessions: count.sessions }))
}
