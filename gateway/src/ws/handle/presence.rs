//! `presenceWatch`, `presenceSet`.

use std::{collections::BTreeSet, sync::Arc};

use mingle_proto::{
    chat::v1 as chat,
    errors::v1::Reason,
    gateway::v1::{self as pb, server_frame},
    presence::v1 as pr,
};
use mingle_runtime::status::Kind;

use super::{Reply, ok};
use crate::{
    auth::token::{self, Claims, Visibility},
    fault::Fault,
    gateway::Gateway,
    translate,
    ws::{replay::Job, session::Session},
};

/// Watches these users instead of those before.
pub(crate) async fn watch(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    watch: pb::PresenceWatch,
) -> Result<Reply, Fault> {
    let max = gateway.config.limits.watched_users;
    let users: BTreeSet<String> = watch.user_ids.into_iter().collect();
    if users.len() > max {
        let message = format!("a connection watches at most {max} users");
        return Err(Fault::invalid(Reason::TooLong, "userIds", message));
    }
    let users: Vec<String> = users.into_iter().collect();
    check_visible(gateway, &session.claims, &users).await?;
    let shared: Vec<Arc<str>> = users.iter().map(|user| user.as_str().into()).collect();
    let new = gateway.people.watch(session.socket, &session.outbox, &shared)?;
    let former = session.set_watched(shared.clone());
    gateway.people.unwatch(session.socket, &former);
    let presences = gateway.people.read(users).await?;
    // Whoever is not known now is told later, although others here watch them.
    let is_known = |presence: &pr::Presence| presence.status() != pr::Status::Unknown;
    let new = if presences.iter().all(is_known) { new } else { shared };
    let presences = presences.into_iter().map(translate::presence).collect();
    let kind = server_frame::Kind::Presences(pb::Presences { presences });
    let gateway = gateway.clone();
    // After the reply, which precedes what it causes.
    let job: Job = Box::pin(async move { gateway.people.ask(new).await });
    Ok(Reply { jobs: vec![job], ..kind.into() })
}

/// Fails unless the holder of `claims` may see every one of `users`.
pub(crate) async fn check_visible(
    gateway: &Gateway,
    claims: &Claims,
    users: &[String],
) -> Result<(), Fault> {
    if let Some(wrong) = users.iter().find(|user| !token::is_user_id(user)) {
        let message = format!("{wrong:?} is no user id: 1 to 128 bytes, no control characters");
        return Err(Fault::invalid(Reason::Malformed, "userIds", message));
    }
    let others = users.iter().filter(|user| **user != claims.sub);
    let others: Vec<String> = others.cloned().collect();
    if claims.presence.visibility == Visibility::Any || others.is_empty() {
        return Ok(());
    }
    let request = chat::SharedRoomsRequest { actor: claims.sub.clone(), user_ids: others.clone() };
    let shared = gateway.chat().shared_rooms(request).await?.into_inner().user_ids;
    match others.iter().find(|user| !shared.contains(user)) {
        None => Ok(()),
        Some(hidden) => {
            let message = format!("there is no user {hidden} who shares a room with the caller");
            Err(Fault::new(Kind::NotFound, Reason::UserNotFound, message).at("userIds"))
        }
    }
}

/// Shows another status.
pub(crate) async fn set(
    gateway: &Gateway,
    session: &Session,
    set: pb::PresenceSet,
) -> Result<Reply, Fault> {
    let Some(status) = translate::wanted_status(set.status()) else {
        let message = "status must be ONLINE, AWAY or BUSY";
        return Err(Fault::invalid(Reason::Malformed, "status", message));
    };
    gateway.sessions.set_status(&session.session_id, &session.user, status).await?;
    Ok(ok())
}
