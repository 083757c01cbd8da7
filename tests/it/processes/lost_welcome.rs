//! Whose welcome was lost is welcomed at another gateway while presence stands still,
//! and stays: the socket before theirs does not take the session back.
//!
//! Without the order of sockets at one generation (`claim` of presence's domain holding
//! it for the first), the second socket is closed as superseded when presence is back.

use std::time::Duration;

use mingle_client::ws::{Encoding, proto::Resume};
use mingle_testkit::eventually;

use super::{plan, urls};
use crate::{
    http,
    world::{SOON, greet, token},
};

/// Longer than a gateway takes to register what presence has not heard of.
const REGISTERED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_whose_welcome_was_lost_does_not_take_the_session_back() {
    let mut deployment = plan().count("presence", 1).start().await;
    let (urls, gateways) = (urls(&deployment), deployment.gateways());
    let first = greet(&urls[0], "ann", Encoding::Json, None).await.unwrap();
    let token_of_first = first.welcome().unwrap().resume_token.clone();
    let resume = || Some(Resume { token: token_of_first.clone(), rooms: Vec::new() });
    first.close().await.unwrap();

    // Presence took it, and the client never heard so.
    drop(greet(&urls[0], "ann", Encoding::Json, resume()).await.unwrap());
    deployment.process("presence", 0).freeze();
    let mut ann = greet(&urls[1], "ann", Encoding::Json, resume()).await.unwrap();
    assert!(ann.welcome().unwrap().resumed);
    deployment.process("presence", 0).thaw();

    let closed = async { while ann.event().await.is_ok() {} };
    let closed = tokio::time::timeout(REGISTERED, closed).await;
    assert!(closed.is_err(), "{:?}", ann.event().await);
    let shown = async |status: &str| {
        let told = http::get(gateways[0], "/api/presence?user=ann", &token("ann")).await;
        (told.body["presences"][0]["status"] == status).then_some(())
    };
    eventually(SOON, "ann to be online", async || shown("ONLINE").await).await;
    // She leaves for good: no ghost of either claim stays.
    drop(ann);
    eventually(SOON, "ann to be offline", async || shown("OFFLINE").await).await;
}
