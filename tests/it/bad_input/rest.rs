//! The same over HTTP.

use http::Method;
use serde_json::json;

use super::MISSING;
use crate::{
    http::{call, get, post},
    world::{World, token},
};

type Why<'a> = (u16, &'a str, &'a str, &'a str);

#[tokio::test]
async fn each_wrong_call_is_a_problem_that_says_why() {
    let world = World::start().await;
    let own = world.room(&["ann", "bob"]).await;
    let foreign = world.room(&["bob", "carol"]).await;
    let said = |room: &str| format!("/api/rooms/{room}/messages");
    let invalid = |reason, field| (400, "INVALID_ARGUMENT", reason, field);
    let message = json!({"clientMsgId": "k", "body": "hi"});
    let long = json!({"clientMsgId": "k", "body": "x".repeat(8193)});
    let nul = json!({"clientMsgId": "k", "body": "\0"});
    let large = "x".repeat(64 * 1024 + 1);
    let room = json!({"kind": "CHANNEL", "externalId": "x".repeat(65)});
    let cases: Vec<(Method, String, String, Why<'_>)> = vec![
        (Method::POST, said(&own), "{".into(), invalid("MALFORMED_FRAME", "")),
        (Method::POST, said(&own), String::new(), invalid("MALFORMED_FRAME", "")),
        (Method::POST, said(&own), "[]".into(), invalid("MALFORMED", "")),
        (Method::POST, said(&own), "{\"text\":\"\"}".into(), invalid("UNKNOWN_FIELD", "text")),
        (Method::POST, said(&own), "{\"body\":1}".into(), invalid("MALFORMED", "body")),
        (
            Method::POST,
            said(&own),
            "{\"body\":\"\\ud800\"}".into(),
            invalid("MALFORMED_FRAME", "body"),
        ),
        (Method::POST, said(&own), long.to_string(), invalid("TOO_LONG", "body")),
        (Method::POST, said(&own), nul.to_string(), invalid("MALFORMED", "body")),
        (Method::POST, said(&own), large, invalid("FRAME_TOO_LARGE", "")),
        (Method::GET, said(&own) + "?limit=51", String::new(), invalid("MALFORMED", "limit")),
        (Method::GET, said(&own) + "?limit=x", String::new(), invalid("MALFORMED", "limit")),
        (Method::GET, said(&own) + "?before=-1", String::new(), invalid("MALFORMED", "before")),
        (Method::GET, said(&own) + "?after=1", String::new(), invalid("UNKNOWN_FIELD", "after")),
        (
            Method::GET,
            said(&foreign),
            String::new(),
            (404, "NOT_FOUND", "ROOM_NOT_FOUND", "roomId"),
        ),
        (
            Method::POST,
            said(&foreign),
            message.to_string(),
            (404, "NOT_FOUND", "ROOM_NOT_FOUND", "roomId"),
        ),
        (
            Method::GET,
            "/api/rooms?pageToken=x".into(),
            String::new(),
            invalid("MALFORMED", "pageToken"),
        ),
        (Method::GET, "/api/rooms?page=1".into(), String::new(), invalid("UNKNOWN_FIELD", "page")),
        (Method::POST, "/api/rooms".into(), "{}".into(), invalid("MALFORMED", "kind")),
        (
            Method::POST,
            "/api/rooms".into(),
            "{\"kind\":\"PAIR\"}".into(),
            invalid("MALFORMED", "kind"),
        ),
        (
            Method::POST,
            "/api/rooms".into(),
            "{\"kind\":\"CAVE\"}".into(),
            invalid("MALFORMED", "kind"),
        ),
        (Method::POST, "/api/rooms".into(), room.to_string(), invalid("TOO_LONG", "externalId")),
        (
            Method::POST,
            "/api/match/tickets".into(),
            "{\"pool\":\"x\",\"attributes\":{\"gender\":\"other\"}}".into(),
            invalid("UNKNOWN_POOL", "pool"),
        ),
        (
            Method::POST,
            "/api/match/tickets".into(),
            "{\"pool\":\"random-chat\",\"wants\":{\"gender\":[1]}}".into(),
            invalid("MALFORMED", "wants.gender"),
        ),
        (Method::GET, "/api/match/pools/x".into(), String::new(), invalid("UNKNOWN_POOL", "pool")),
        (Method::GET, "/api/presence".into(), String::new(), invalid("REQUIRED", "user")),
        (
            Method::GET,
            "/api/presence?user=bob&user=carol".into(),
            String::new(),
            (404, "NOT_FOUND", "USER_NOT_FOUND", "user"),
        ),
        (
            Method::GET,
            "/api/nothing".into(),
            String::new(),
            (404, "NOT_FOUND", "ROUTE_NOT_FOUND", ""),
        ),
        (
            Method::PUT,
            "/api/rooms".into(),
            "{}".into(),
            (405, "FAILED_PRECONDITION", "METHOD_NOT_ALLOWED", ""),
        ),
    ];
    for (method, path, body, why) in cases {
        let answer = call(world.http(), method.clone(), &path, &token("ann"), body.clone()).await;
        let what = format!("{method} {path} {}: {}", &body[..body.len().min(80)], answer.text);
        assert_eq!(answer.problem(), why, "{what}");
        assert!(!answer.body["message"].as_str().unwrap().is_empty(), "{what}");
    }
    assert!(world.history("ann", &own).await.is_empty());
    get(world.http(), "/api/health", "").await.ok();
}

#[tokio::test]
async fn what_is_anothers_is_as_absent_as_what_is_nowhere() {
    let world = World::start().await;
    let foreign = world.room(&["bob", "carol"]).await;
    let carols = json!({"pool": "random-chat", "attributes": {"gender": "female"},
        "wants": {"gender": ["other"]}});
    let made = post(world.http(), "/api/match/tickets", &token("carol"), &carols).await.ok();
    let ticket = made["ticketId"].as_str().unwrap();
    let same = async |method: Method, path: &dyn Fn(&str) -> String, id: &str, body: &str| {
        let body = body.to_owned();
        let ann = token("ann");
        let there = call(world.http(), method.clone(), &path(id), &ann, body.clone()).await;
        let nowhere = call(world.http(), method, &path(MISSING), &ann, body).await;
        assert_eq!(there.status, 404, "{}", there.text);
        assert_eq!(there.text, nowhere.text);
    };
    let messages = |id: &str| format!("/api/rooms/{id}/messages");
    let tickets = |id: &str| format!("/api/match/tickets/{id}");
    let waiting = |id: &str| format!("/api/match/tickets/{id}?wait=100ms");
    let message = "{\"clientMsgId\":\"k\",\"body\":\"hi\"}";
    same(Method::GET, &messages, &foreign, "").await;
    same(Method::POST, &messages, &foreign, message).await;
    same(Method::GET, &tickets, ticket, "").await;
    same(Method::GET, &waiting, ticket, "").await;
    same(Method::DELETE, &tickets, ticket, "").await;
    // Hers still waits.
    let path = format!("/api/match/tickets/{ticket}");
    let hers = get(world.http(), &path, &token("carol")).await.ok();
    assert_eq!(hers["state"], "WAITING");
}
