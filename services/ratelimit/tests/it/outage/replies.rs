//! What callers are told: by each policy, and by the health of the process.

use std::sync::Arc;

use mingle_proto::ratelimit::v1::{CheckEachRequest, CheckRequest, OutagePolicy, PeekRequest};
use mingle_store::clock::ManualClock;
use mingle_testkit::{Redis as Server, eventually};

use crate::{
    through,
    world::{SOON, START, ask, config, connect},
};

fn request(id: &str, of: &[&str]) -> CheckRequest {
    let charge = through::charge(&ask(&config().limits(), "ann", id, 1, of));
    CheckRequest { charge: Some(charge), request_id: id.to_owned(), ..CheckRequest::default() }
}

#[tokio::test]
async fn each_limit_says_which_policy_decided() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let clock = Arc::new(ManualClock::at(START));
    let (mut client, context) = through::serve(clock, Some(redis)).await;
    let mut degraded = context.health.degraded();
    for (n, limit) in ["three", "shut", "free"].into_iter().enumerate() {
        let reply = client.check(request(&n.to_string(), &[limit])).await.unwrap();
        assert!(reply.get_ref().allowed && !reply.get_ref().degraded, "{reply:?}");
        assert_eq!(reply.get_ref().states[0].decided_by(), OutagePolicy::Unspecified);
    }
    assert!(!degraded.borrow_and_update().contains("ratelimit"));

    server.kill();
    degraded.wait_for(|states| states.contains("ratelimit")).await.unwrap();
    for (limit, policy, allowed) in [
        ("three", OutagePolicy::Local, true),
        ("shut", OutagePolicy::Closed, false),
        ("free", OutagePolicy::Open, true),
    ] {
        let reply = client.check(request(limit, &[limit])).await.unwrap();
        let reply = reply.into_inner();
        assert!(reply.degraded);
        assert_eq!((reply.allowed, reply.states[0].decided_by()), (allowed, policy));
        assert_eq!(reply.retry_after_ms > 0, !allowed, "{reply:?}");
    }
    // One that is closed closes the rest, and charges none of it.
    let reply = client.check(request("both", &["three", "shut", "free"])).await.unwrap();
    let reply = reply.into_inner();
    assert!(!reply.allowed && reply.charge_id.is_empty());
    let of: Vec<_> = reply.states.iter().map(|state| (state.allowed, state.remaining)).collect();
    assert_eq!(of, [(true, 1), (false, 0), (true, 5)]);
    let charge = request("look", &["three"]).charge;
    let looked = client.peek(PeekRequest { charge }).await.unwrap().into_inner();
    assert_eq!((looked.degraded, looked.states[0].remaining), (true, 1));
    // Each of several is decided by itself.
    let checks = ["three", "shut", "free"].map(|limit| request(&format!("each {limit}"), &[limit]));
    let several = CheckEachRequest { checks: checks.into() };
    let each = client.check_each(several).await.unwrap().into_inner().results;
    let told = each.into_iter().map(|it| it.response.map(|it| (it.degraded, it.allowed)));
    let told: Option<Vec<_>> = told.collect();
    assert_eq!(told, Some(vec![(true, true), (true, false), (true, true)]));
    assert!(degraded.borrow_and_update().contains("ratelimit"));

    server.restart().await;
    degraded.wait_for(|states| !states.contains("ratelimit")).await.unwrap();
    eventually(SOON, "an answer of all together", async || {
        let reply = client.check(request("well", &["shut"])).await.unwrap();
        !reply.get_ref().degraded
    })
    .await;
}
