//! Asks an instance whether it is well, as gRPC clients do that check health.

use std::{error::Error, time::Duration};

use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an instance said.
#[derive(Debug)]
pub(super) enum Answer {
    /// That it serves, or nothing of the kind: who does not know the question, or
    /// may not be asked it, has answered too. A proxy before it decides what passes.
    Serves,
    /// That it does not.
    Refuses,
    /// Nothing: why.
    Nothing(String),
}

/// Asks the process at the other end. The question needs no token.
pub(super) async fn ask(channel: &Channel) -> Answer {
    match question(channel, "").await {
        Ok(ServingStatus::Serving) => Answer::Serves,
        Ok(_) => Answer::Refuses,
        Err(status) if has_answered(status.code()) => Answer::Serves,
        Err(status) => Answer::Nothing(words(&status)),
    }
}

/// True when the process at the other end serves.
pub(super) async fn is_well(channel: &Channel) -> bool {
    matches!(ask(channel).await, Answer::Serves)
}

/// True when the process at the other end has a service of this name, serving or
/// not.
pub(super) async fn knows(channel: &Channel, service: &str) -> bool {
    question(channel, service).await.is_ok()
}

async fn question(channel: &Channel, service: &str) -> Result<ServingStatus, Status> {
    let mut client = HealthClient::new(channel.clone());
    let question = client.check(HealthCheckRequest { service: service.to_owned() });
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => Ok(answer?.into_inner().status()),
        Err(_) => Err(Status::deadline_exceeded("no answer within 1 s")),
    }
}

/// Not a code that a broken connection, or a proxy without anybody behind it,
/// has too.
fn has_answered(code: Code) -> bool {
    matches!(
        code,
        Code::Unimplemented
            | Code::NotFound
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted
    )
}

/// What the way there says, or else what came of it.
fn words(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(next) = cause.and_then(Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}
