//! The route classes over three gateways, with their limits' service and
//! without.

use std::net::SocketAddr;

use futures::future::join_all;
use mingle_testkit::{Deployment, eventually};

use super::plan;
use crate::{
    http::{Answer, get},
    world::{SOON, token},
};

const QUOTA: usize = 30;
/// What a class that is closed says while nobody counts: a second, or up to two.
const CLOSED_S: [&str; 2] = ["1", "2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_limit_holds_over_three_gateways_and_auth_closes_without_it() {
    // Closed: an answer that is late on a busy machine admits nobody.
    let mut deployment = plan()
        .count("gateway", 3)
        .env("MINGLE_RATELIMIT__LIMITS__API__QUOTA", QUOTA.to_string())
        .env("MINGLE_GATEWAY__CLASSES__API__OUTAGE", "closed")
        .env("MINGLE_GATEWAY__CLASSES__AUTH__OUTAGE", "closed")
        .env("MINGLE_GATEWAY__OLDER_RATELIMIT_HEADERS", "true")
        .start()
        .await;
    assert_one_limit(&deployment).await;

    deployment.kill9("ratelimit", 0);
    for gateway in deployment.gateways() {
        let guess = eventually(SOON, "auth is closed", async || closed(gateway, "guess").await);
        let guess = guess.await;
        assert_eq!(guess.problem(), (503, "UNAVAILABLE", "UNAVAILABLE", ""));
        assert_eq!(guess.header("ratelimit"), "", "nobody counts");
        let path = "/api/admin/nothing";
        let mut asked = 0;
        let operator = eventually(SOON, "three gateways know each other", async || {
            asked += 1;
            let operator = get(gateway, path, &token(&format!("bob-{asked}"))).await;
            operator.header("ratelimit-policy").contains("q=6;").then_some(operator)
        })
        .await;
        assert_eq!(operator.status.as_u16(), 404, "counted by the gateway: {operator:?}");
        assert_eq!(operator.header("ratelimit-policy"), "\"admin\";q=6;w=60");
    }
    deployment.start().await;
    for gateway in deployment.gateways() {
        let is_back = async || {
            let answer = get(gateway, "/api/rooms", "guess").await;
            (answer.problem().2 == "TOKEN_INVALID").then_some(())
        };
        eventually(SOON, "auth is open again", is_back).await;
        let is_back = async || {
            let answer = get(gateway, "/api/rooms", &token("carol")).await;
            (answer.status.as_u16() == 200).then_some(())
        };
        eventually(SOON, "the API is open again", is_back).await;
    }
}

async fn assert_one_limit(deployment: &Deployment) {
    let gateways = deployment.gateways();
    let ann = token("ann");
    let mut answers = Vec::new();
    for _ in 0..QUOTA {
        let ask = |gateway: &SocketAddr| get(*gateway, "/api/rooms", &ann);
        answers.extend(join_all(gateways.iter().map(ask)).await);
    }
    let passed: Vec<_> =
        (0..gateways.len()).map(|at| count(answers.iter().skip(at).step_by(3), 200)).collect();
    let denied = count(answers.iter(), 429);
    eprintln!("passed {passed:?} by gateway, {denied} denied");
    assert!(passed.iter().sum::<usize>() <= QUOTA && passed.iter().all(|passed| *passed > 0));
    assert_eq!(passed.iter().sum::<usize>() + denied, answers.len());
    assert!(denied >= 2 * QUOTA);
    for denied in answers.iter().filter(|answer| answer.status.as_u16() == 429) {
        assert_eq!(denied.problem(), (429, "RESOURCE_EXHAUSTED", "RATE_LIMITED", ""));
        assert!(denied.text.contains("http-problem-types#quota-exceeded"), "{}", denied.text);
        let older = ["limit", "remaining"].map(|name| format!("x-ratelimit-{name}"));
        assert_eq!(older.each_ref().map(|name| denied.header(name)), ["30", "0"]);
    }
}

fn count<'a>(answers: impl Iterator<Item = &'a Answer>, status: u16) -> usize {
    answers.filter(|answer| answer.status.as_u16() == status).count()
}

/// The answer, if it says that nobody counts.
async fn closed(gateway: SocketAddr, token: &str) -> Option<Answer> {
    let answer = get(gateway, "/api/rooms", token).await;
    let is_refused = answer.status.as_u16() == 503;
    (is_refused && CLOSED_S.contains(&answer.header("retry-after"))).then_some(answer)
}
