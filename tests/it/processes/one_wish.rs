//! Who searches again and again while the database is away is charged for one
//! search.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use ::http::Method;
use mingle_client::ws::{Client, Encoding, Error};
use mingle_testkit::{Fault, To, eventually};
use serde_json::json;

use super::{monitor::Monitor, plan, urls};
use crate::{
    http,
    world::{SOON, greet, token},
};

/// Of each who searches, while the database is away.
const TRIES: usize = 4;
const AWAY: [&str; 2] = ["UNAVAILABLE", "DEADLINE_EXCEEDED"];

async fn search(client: &mut Client) -> Result<String, Error> {
    let wants = [("gender", &["other"][..])];
    let ticket = client.match_join("random-chat", &[("gender", "female")], &wants).await?;
    Ok(ticket.ticket_id)
}

/// By HTTP; with a problem's code when it is refused.
async fn search_by_http(at: SocketAddr, user: &str) -> Result<String, String> {
    let body = json!({"pool": "random-chat", "attributes": {"gender": "male"},
        "wants": {"gender": ["other"]}});
    let path = "/api/match/tickets";
    let answer = http::call(at, Method::POST, path, &token(user), body.to_string()).await;
    match answer.body["ticketId"].as_str() {
        Some(ticket) => Ok(ticket.to_owned()),
        None => Err(answer.problem().1.to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_is_tried_through_an_outage_has_one_charge() {
    let deployment =
        plan().count("gateway", 1).count("matchmaking", 1).count("chat", 1).ways().start().await;
    let (gateway, url) = (deployment.gateways()[0], urls(&deployment).remove(0));
    let mut ann = greet(&url, "ann", Encoding::Json, None).await.unwrap();
    let monitor = Monitor::start(deployment.redis()).await;
    let way = deployment.way("matchmaking", 0, To::Postgres);
    way.set(Fault::Cut);
    for _ in 0..TRIES {
        match search(&mut ann).await {
            Err(Error::Refused(error)) => assert!(AWAY.contains(&&*error.code), "{error:?}"),
            other => panic!("{other:?}"),
        }
        let code = search_by_http(gateway, "bob").await.unwrap_err();
        assert!(AWAY.contains(&&*code), "{code}");
    }
    way.set(Fault::None);
    eventually(SOON, "the search to begin", async || search(&mut ann).await.ok()).await;
    eventually(SOON, "the other one too", async || search_by_http(gateway, "bob").await.ok()).await;
    let executed = monitor.end(deployment.redis()).await;

    // A subject is a tag, under which are its limits and its charges by their ids.
    let mut subjects = BTreeMap::<&str, BTreeSet<&str>>::new();
    let keys = || executed.iter().filter_map(|it| it.text.split('"').nth(3)?.split_once("}:1:"));
    for (subject, _) in keys().filter(|(_, key)| *key == "l:queue_join") {
        subjects.entry(subject).or_default();
    }
    for (subject, charge) in keys().filter(|(_, key)| key.starts_with("c:")) {
        if let Some(charges) = subjects.get_mut(subject) {
            charges.insert(charge);
        }
    }
    eprintln!("{subjects:#?}");
    assert_eq!(subjects.len(), 2, "{subjects:#?}");
    assert!(subjects.values().all(|charges| charges.len() == 1), "{subjects:#?}");
}
