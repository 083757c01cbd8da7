//! Asks an instance whether it is well, as gRPC clients do that check health.

use std::time::Duration;

use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// True when the process at the other end says that it serves. One that does not
/// know the question, or may not be asked it, has answered too: a proxy before
/// it decides what passes. The question needs no token.
pub(super) async fn is_well(channel: &Channel) -> bool {
    let mut client = HealthClient::new(channel.clone());
    let question = client.check(HealthCheckRequest::default());
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => answer.into_inner().status() == ServingStatus::Serving,
        Ok(Err(status)) => has_answered(status.code()),
        Err(_) => false,
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
