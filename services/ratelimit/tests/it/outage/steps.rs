//! A caller that leaves between two steps.

use std::{sync::Arc, time::Duration};

use mingle_proto::ratelimit::v1::{CheckManyRequest, CheckRequest};
use mingle_store::{
    clock::ManualClock,
    redis::{Options, Redis},
};
use mingle_testkit::{Fault, Proxy, Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

use crate::{
    through,
    world::{SOON, START, ask, config, connected},
};

/// Long enough for a caller to leave while an answer is on its way.
const LATE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_between_charge_and_undo_is_charged_nothing() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address()).await;
    let url = server.url_by(proxy.address());
    let options = Options { timeout: SOON, ..Options::new(url) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    connected(&redis).await;
    let clock = Arc::new(ManualClock::at(START));
    let (mut client, _context) = through::serve(clock, Some(redis)).await;
    let limits = config().limits();
    let charge = |who: &str, limit, cost| through::charge(&ask(&limits, who, "", cost, &[limit]));
    let used_up = CheckRequest {
        charge: Some(charge("room", "shut", 5)),
        request_id: "before".to_owned(),
        ..CheckRequest::default()
    };
    assert!(client.check(used_up).await.unwrap().into_inner().allowed);
    let stands = || !server.cli(&["KEYS", "*:1:l:ten"]).trim().is_empty();
    assert!(!stands());

    proxy.set(Fault::Slow(LATE));
    let both = CheckManyRequest {
        charges: vec![charge("ann", "ten", 1), charge("room", "shut", 1)],
        request_id: "both".to_owned(),
    };
    let mut leaving = client.clone();
    let call = tokio::spawn(async move { leaving.check_many(both).await });
    eventually(SOON, "the charge", async || stands()).await;
    assert!(!call.is_finished(), "its answer is on the way");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    proxy.set(Fault::None);
    eventually(SOON, "the charge is given back", async || !stands()).await;
}
