//! Matchmaking is gone: nobody begins to wait, and all else goes on.

use mingle_client::ws::Encoding;
use mingle_testkit::eventually;
use serde_json::json;
use tokio::time::timeout;

use super::{Duration, Ledger, Talk, away, join, matched, pass, refusal};
use crate::{
    http,
    processes::{plan, urls},
    world::{SOON, greet, token},
};

const PAUSE: Duration = Duration::from_millis(500);
/// What the gateway waits for an answer, and what a busy machine adds.
const DEADLINE: Duration = Duration::from_secs(15);
const WAITING: &str = "select count(*) from mm_tickets where state = 'waiting'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_matchmaking_joins_are_refused_and_who_waits_is_matched_later() {
    let mut deployment = plan().start().await;
    let (urls, gateways) = (urls(&deployment), deployment.gateways());
    let ledger = Ledger::postgres(&deployment.database().url).await;
    let talk = Talk::across(&deployment, (2, PAUSE)).await;
    let waits = [
        join(&urls[0], "waits-0", "female", "male").await,
        join(&urls[1], "waits-1", "female", "male").await,
    ];
    talk.goes_on(4).await;

    for nth in 0..2 {
        deployment.kill9("matchmaking", nth);
    }
    let retried = talk.retried();
    for (url, gateway) in urls.iter().zip(&gateways) {
        let mut client = greet(url, "comes", Encoding::Proto, None).await.unwrap();
        let of = [("gender", "male")];
        let join = client.match_join("random-chat", &of, &[("gender", &["other"])]);
        let answer = timeout(DEADLINE, join).await.expect("an answer in time");
        assert_eq!(refusal(answer), ("UNAVAILABLE".to_owned(), "UNAVAILABLE".to_owned()));
        let body = json!({"pool": "random-chat", "attributes": {"gender": "male"}});
        let comes = token("comes");
        let create = http::post(*gateway, "/api/match/tickets", &comes, &body);
        let refused = timeout(DEADLINE, create).await.expect("an answer in time");
        assert_eq!(refused.problem(), (503, "UNAVAILABLE", "UNAVAILABLE", ""));
        assert!(refused.body["retryAfterMs"].as_u64().unwrap() > 0, "{refused:?}");
    }
    pass(away()).await;
    talk.goes_on(8).await;
    assert_eq!(talk.retried(), retried, "talk is not concerned");
    assert_eq!(ledger.count(WAITING).await, 2, "as they were");

    deployment.start().await;
    let mut meets = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        meets.push(join(url, &format!("meets-{at}"), "male", "female").await);
    }
    for client in waits.into_iter().chain(meets) {
        let matched = timeout(SOON, matched(client)).await.expect("a match");
        let of = |name: &str| matched.users.iter().filter(|user| user.starts_with(name)).count();
        assert_eq!((of("waits-"), of("meets-")), (1, 1), "{matched:?}");
    }
    eventually(SOON, "nobody waits", async || ledger.count(WAITING).await == 0).await;
    talk.end_among_others(&ledger).await;
}
