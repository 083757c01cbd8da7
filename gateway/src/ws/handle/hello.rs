//! `hello`: from a socket to a session, new or taken up again.

use std::{sync::Arc, time::Duration};

use mingle_proto::{
    errors::v1::Reason,
    gateway::v1::{self as pb, server_frame},
    presence::v1 as pr,
};
use mingle_runtime::status::Kind;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Reply, rooms};
use crate::{
    auth::{
        resume::Resume,
        token::{self, Claims},
    },
    fault::Fault,
    gateway::Gateway,
    outbox::{Entry, Outbox},
    throttle::Address,
    ws::{replay, session::Session},
};

/// Time for the rooms of a resume; what is not followed by then is told to be
/// unavailable.
const ROOMS_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a hello waits for its turn: with the four seconds of the backlog less
/// than the ten that clients wait.
const TURN: Duration = Duration::from_secs(5);
/// When to come back, at the least, who had none.
const BUSY: Duration = Duration::from_secs(2);

/// Greets: verifies, takes the session, follows the rooms of a resume.
pub(crate) async fn greet(
    gateway: Arc<Gateway>,
    outbox: Arc<Outbox>,
    (socket, address): (u64, Address),
    hello: pb::Hello,
) -> Result<Reply, Fault> {
    // Of two sockets that ask for the same generation the later hello is to have it.
    let connection = Uuid::now_v7();
    let Ok(Some(turn)) = tokio::time::timeout(TURN, gateway.hellos.turn()).await else {
        metrics::counter!("mingle_gateway_hellos_refused_total").increment(1);
        let message = "the gateway greets as many as it may";
        let fault = Fault::new(Kind::Exhausted, Reason::Overloaded, message);
        return Err(fault.retry_after(BUSY));
    };
    let claims = match gateway.tokens.verify(&hello.token) {
        Ok(claims) => claims,
        Err(fault) => {
            // While attempts cannot be counted that takes a while.
            drop(turn);
            return Err(gateway.throttle.refused(address, fault).await);
        }
    };
    let resume = hello.resume.unwrap_or_default();
    check_rooms(&gateway, &resume)?;
    let taken = taken_up(&gateway, &resume, &claims)?;
    let resumed = taken.is_some();
    let (session_id, generation) = match taken {
        Some(resume) => (resume.session_id, resume.generation + 1),
        None => (Uuid::now_v7().to_string(), 1),
    };
    let generation = gateway
        .sessions
        .connect(socket, held(&session_id, &claims.sub, generation, connection))
        .await?;
    let session = Arc::new(Session::new(socket, outbox, session_id, claims));
    let deadline = Instant::now() + ROOMS_TIMEOUT;
    let mut followed = Vec::new();
    let mut jobs = Vec::new();
    for room in resume.rooms {
        let (reply, job) = rooms::resume(&gateway, &session, room, deadline).await;
        followed.push(reply);
        jobs.extend(job);
    }
    tell_degraded(&gateway, &session);
    let welcome = welcome(&gateway, &session, generation, resumed, followed);
    let kind = server_frame::Kind::Welcome(welcome);
    Ok(Reply { jobs, session: Some(session), ..kind.into() })
}

fn check_rooms(gateway: &Gateway, resume: &pb::Resume) -> Result<(), Fault> {
    let max = gateway.config.limits.rooms_per_connection;
    if resume.rooms.len() <= max {
        return Ok(());
    }
    let message = format!("a connection follows at most {max} rooms");
    Err(Fault::new(Kind::Exhausted, Reason::TooManyRooms, message).at("resume.rooms"))
}

/// The session that the hello takes up, if it asks for one.
fn taken_up(
    gateway: &Gateway,
    resume: &pb::Resume,
    claims: &Claims,
) -> Result<Option<Resume>, Fault> {
    if resume.token.is_empty() {
        return Ok(None);
    }
    gateway.resumes.verify(&resume.token, &claims.sub, (gateway.now)()).map(Some)
}

fn held(session_id: &str, user_id: &str, generation: u64, connection: Uuid) -> pr::Session {
    pr::Session {
        session_id: session_id.to_owned(),
        user_id: user_id.to_owned(),
        generation,
        connection_id: connection.to_string(),
        // As it was before a resume; else ONLINE.
        status: pr::Status::Unspecified.into(),
    }
}

/// Tells what is degraded, unless all is well. The states are held meanwhile:
/// that they changed is told after it.
fn tell_degraded(gateway: &Gateway, session: &Session) {
    let told = gateway.ctx.health.degraded();
    let states = told.borrow();
    if !states.is_empty() {
        let states = gateway.ctx.diagnostics.by_role(&states);
        session.outbox.push(Entry::Event(replay::degraded(&states)));
    }
}

fn welcome(
    gateway: &Gateway,
    session: &Session,
    generation: u64,
    resumed: bool,
    rooms: Vec<pb::Room>,
) -> pb::Welcome {
    let resume_token = gateway.resumes.sign(&Resume {
        session_id: session.session_id.clone(),
        user_id: session.actor(),
        generation,
        expires_ms: (gateway.now)() + i64::from(gateway.config.resume_ttl_ms),
    });
    pb::Welcome {
        session_id: session.session_id.clone(),
        user_id: session.actor(),
        node: gateway.ctx.node_id.to_string(),
        ping_interval_ms: gateway.config.limits.ping_interval_ms,
        resume_token,
        resumed,
        rooms,
    }
}

/// When a socket under `claims` ends; far away tokens end it never.
pub(crate) fn expiry(gateway: &Gateway, claims: &Claims) -> Option<Instant> {
    let until = claims.exp.saturating_mul(1000).saturating_add(token::LEEWAY_MS);
    let left = u64::try_from(until.saturating_sub((gateway.now)())).unwrap_or(0);
    Instant::now().checked_add(Duration::from_millis(left))
}
