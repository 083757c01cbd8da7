//! The lease of a gateway whose sockets end by thousands.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, routing::post};
use mingle_proto::presence::v1::{self as pr, presence_service_client::PresenceServiceClient};
use mingle_runtime::{Context, grpc::Transport};
use tokio::time::timeout;
use tonic::service::Routes;

use super::{RENEW, Sessions, disconnection};

/// Ends that wait for a presence that answers none of them: many times what is
/// told at once.
const ENDED: u32 = 2_000;
const LOOK: Duration = Duration::from_secs(10);

/// A presence that renews leases, which it counts, and hears of no end.
fn deaf(renewals: Arc<AtomicUsize>) -> Transport {
    const EMPTY: [u8; 5] = [0; 5];
    let method = |name| format!("/mingle.presence.v1.PresenceService/{name}");
    let renew = async move || {
        renewals.fetch_add(1, Relaxed);
        ([("content-type", "application/grpc"), ("grpc-status", "0")], EMPTY)
    };
    let router = Router::new()
        .route(&method("RenewNode"), post(renew))
        .route(&method("Disconnect"), post(pending::<()>));
    Transport::local(Routes::from(router))
}

fn ended(number: u32) -> pr::DisconnectRequest {
    let (session_id, user_id) = (format!("session-{number}"), "ann".to_owned());
    disconnection(&pr::Session { session_id, user_id, generation: 1, ..Default::default() })
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_thousands_of_ends_wait() {
    let renewals = Arc::<AtomicUsize>::default();
    let ctx = Context::for_test(&[], "");
    let sessions = Arc::new(Sessions {
        client: PresenceServiceClient::new(deaf(renewals.clone())),
        unregistered: false.into(),
        ..Sessions::new(&ctx, 1, Arc::default())
    });
    let end = |number| {
        let sessions = sessions.clone();
        tokio::spawn(async move { sessions.end(ended(number)).await })
    };
    let mut ends: Vec<_> = (0..ENDED).map(end).collect();
    assert!(!ends.remove(0).await.unwrap(), "given up: there is something to tell again");
    tokio::spawn(sessions.clone().keep_alive(ctx.clone()));
    assert!(timeout(LOOK, pending::<()>()).await.is_err());
    assert!(!ends.pop().unwrap().is_finished(), "the last one waits still");
    let (renewals, due) = (renewals.load(Relaxed), LOOK.as_secs() / RENEW.as_secs());
    assert!(renewals as u64 >= due, "renewed {renewals} times in {LOOK:?}");
}
