//! The calls, through gRPC in process.

use mingle_matchmaking::Config;
use mingle_proto::matchmaking::v1::{
    CreateTicketRequest, ListPoolsRequest, Liveness, PoolStatsRequest, TicketState, Wanted,
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::{Backends, bus::Memory, clock::SystemClock};
use tokio::task::JoinSet;

use crate::world::{Client, POOL, World, database, fault, get, request};

fn faulty(change: impl FnOnce(&mut CreateTicketRequest)) -> CreateTicketRequest {
    let mut request = request("ann", "female", &[]);
    change(&mut request);
    request
}

fn wanted(values: &[&str]) -> Wanted {
    Wanted { values: values.iter().map(|&value| value.to_owned()).collect() }
}

#[tokio::test]
async fn two_strangers_who_accept_each_other_are_matched_and_get_one_room() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &["male"]).await;
    assert_eq!((ann.state(), ann.pool.as_str()), (TicketState::Waiting, POOL));
    let eve = world.join("eve", "female", &[]).await;
    let bob = world.join("bob", "male", &["female"]).await;
    let (ann, bob) = (world.matched(&ann).await, world.matched(&bob).await);
    assert_eq!(ann.user_ids, ["ann", "bob"]);
    assert_eq!((&ann.match_id, &ann.room_id), (&bob.match_id, &bob.room_id));
    assert_eq!(world.state(&eve).await, TicketState::Waiting, "ann does not look for her");
    let rooms = world.around.chat.rooms();
    assert_eq!(rooms.into_iter().collect::<Vec<_>>(), [(ann.match_id, ann.user_ids)]);
}

#[tokio::test]
async fn the_same_wish_again_is_the_same_ticket_and_another_is_refused() {
    let world = World::new().await;
    let first = world.join("ann", "female", &["male", "other"]).await;
    let again = world.join("ann", "female", &["other", "male", "male"]).await;
    assert_eq!(first, again);
    let other = world.create(request("ann", "male", &["male", "other"])).await;
    let refused = |field: &str| ("ALREADY_EXISTS", "ALREADY_WAITING".to_owned(), field.to_owned());
    assert_eq!(fault(other), refused("attributes"));
    let other = world.create(request("ann", "female", &["male"])).await;
    assert_eq!(fault(other), refused("wants"));
    // Nothing listed and all listed mean the same.
    let any = world.join("bob", "other", &[]).await;
    assert_eq!(any, world.join("bob", "other", &["female", "male", "other"]).await);
}

#[tokio::test]
async fn a_match_that_its_owner_was_not_told_is_answered_again() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let bob = world.join("bob", "male", &[]).await;
    let matched = world.matched(&ann).await;
    world.matched(&bob).await;
    assert_eq!(world.join("ann", "female", &[]).await, matched);
    assert_eq!(world.join("ann", "other", &["male"]).await, matched, "whatever the content");
}

#[tokio::test]
async fn cancelling_answers_the_state_it_ended_in() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    for _ in 0..2 {
        let state = world.cancel("ann", &ann.ticket_id).await.unwrap().state();
        assert_eq!(state, TicketState::Cancelled);
    }
    let anew = world.join("ann", "female", &[]).await;
    assert_ne!(ann.ticket_id, anew.ticket_id);
    let bob = world.join("bob", "male", &[]).await;
    world.matched(&bob).await;
    let late = world.cancel("ann", &anew.ticket_id).await.unwrap();
    assert_eq!(late.state(), TicketState::Matched);
    assert_eq!(late.user_ids, ["ann", "bob"]);
}

#[tokio::test]
async fn anothers_ticket_does_not_exist() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let absent = "019aa000-0000-7000-8000-000000000000";
    let nothing = ("NOT_FOUND", "TICKET_NOT_FOUND".to_owned(), "ticket_id".to_owned());
    for id in [ann.ticket_id.as_str(), absent, "nonsense\0", "'; drop table mm_tickets"] {
        assert_eq!(fault(world.get("eve", id).await), nothing);
        assert_eq!(fault(world.cancel("eve", id).await), nothing);
    }
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
}

#[tokio::test]
async fn bad_input_names_the_field_and_the_reason() {
    let world = World::new().await;
    let long = "x".repeat(129);
    let cases: Vec<(CreateTicketRequest, &str, &str)> = vec![
        (faulty(|it| it.actor.clear()), "actor", "REQUIRED"),
        (faulty(|it| it.actor = long.clone()), "actor", "TOO_LONG"),
        (faulty(|it| it.actor = "a\0b".into()), "actor", "MALFORMED"),
        (faulty(|it| it.pool.clear()), "pool", "REQUIRED"),
        (faulty(|it| it.pool = "nowhere".into()), "pool", "UNKNOWN_POOL"),
        (faulty(|it| it.pool = long.clone()), "pool", "TOO_LONG"),
        (faulty(|it| it.attributes.clear()), "attributes.gender", "REQUIRED"),
        (gender(""), "attributes.gender", "REQUIRED"),
        (gender("robot"), "attributes.gender", "UNKNOWN_VALUE"),
        (gender(&long), "attributes.gender", "TOO_LONG"),
        (attribute("age", "9"), "attributes.age", "UNKNOWN_VALUE"),
        (attribute(&long, "9"), "attributes", "TOO_LONG"),
        (many_attributes(), "attributes", "TOO_LONG"),
        (wants("age", &["9"]), "wants.age", "UNKNOWN_VALUE"),
        (wants("gender", &["male", "robot"]), "wants.gender", "UNKNOWN_VALUE"),
        (wants("gender", &["male"; 17]), "wants.gender", "TOO_LONG"),
        (trusted("male"), "attributes.gender", "ATTRIBUTE_CONFLICT"),
        (faulty(|it| it.liveness = 0), "liveness", "REQUIRED"),
        (faulty(|it| it.liveness = 99), "liveness", "MALFORMED"),
    ];
    for (request, field, reason) in cases {
        let expected = ("INVALID_ARGUMENT", reason.to_owned(), field.to_owned());
        assert_eq!(fault(world.create(request.clone()).await), expected, "{request:?}");
    }
    let waited = get(&world.client, "ann", "x", 25_001).await;
    assert_eq!(fault(waited), ("INVALID_ARGUMENT", "TOO_LONG".into(), "wait_ms".into()));
    let stats = world.client.clone().pool_stats(PoolStatsRequest { pool: "nowhere".into() }).await;
    assert_eq!(fault(stats), ("INVALID_ARGUMENT", "UNKNOWN_POOL".into(), "pool".into()));
    let count: i64 = sqlx::query_scalar("select count(*) from mm_tickets")
        .fetch_one(&world.sql().await)
        .await
        .unwrap();
    assert_eq!(count, 0, "nothing of this became a row");
}

fn gender(value: &str) -> CreateTicketRequest {
    attribute("gender", value)
}

fn attribute(name: &str, value: &str) -> CreateTicketRequest {
    faulty(|it| drop(it.attributes.insert(name.to_owned(), value.to_owned())))
}

fn many_attributes() -> CreateTicketRequest {
    faulty(|it| it.attributes.extend((0..9).map(|n| (format!("a{n}"), "x".to_owned()))))
}

fn wants(name: &str, values: &[&str]) -> CreateTicketRequest {
    faulty(|it| drop(it.wants.insert(name.to_owned(), wanted(values))))
}

fn trusted(value: &str) -> CreateTicketRequest {
    faulty(|it| drop(it.trusted_attributes.insert("gender".to_owned(), value.to_owned())))
}

#[tokio::test]
async fn what_the_token_says_is_filled_in_and_the_rest_of_it_ignored() {
    let world = World::new().await;
    let mut request = trusted("female");
    request.attributes.clear();
    request.trusted_attributes.insert("country".into(), "somewhere".into());
    let ann = world.create(request).await.unwrap();
    let (attributes, wants): (String, String) =
        sqlx::query_as("select attributes, wants from mm_tickets where ticket_id = ?")
            .bind(&ann.ticket_id)
            .fetch_one(&world.sql().await)
            .await
            .unwrap();
    assert_eq!((attributes.as_str(), wants.as_str()), (r#"{"gender":"female"}"#, "{}"));
}

#[tokio::test]
async fn a_poll_waits_for_the_match_and_having_seen_it_frees_the_user() {
    let world = World::new().await;
    let mut wish = request("ann", "female", &[]);
    wish.liveness = Liveness::Lease.into();
    let ann = world.create(wish.clone()).await.unwrap();
    assert_eq!(get(&world.client, "ann", &ann.ticket_id, 20).await.unwrap(), ann);
    let (client, ticket_id) = (world.client.clone(), ann.ticket_id.clone());
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { get(&client, "ann", &ticket_id, 25_000).await.unwrap() });
    let bob = world.join("bob", "male", &[]).await;
    let seen = waiting.join_next().await.unwrap().unwrap();
    assert_eq!((seen.state(), seen.user_ids.len()), (TicketState::Matched, 2));
    assert!(!seen.room_id.is_empty(), "told when there is somewhere to go");
    assert_eq!(world.matched(&bob).await.room_id, seen.room_id);
    assert_ne!(world.create(wish).await.unwrap().ticket_id, ann.ticket_id);
}

#[tokio::test]
async fn stats_count_those_who_wait_and_tell_the_median_from_five_on() {
    let world = World::new().await;
    let stats = async || {
        let request = PoolStatsRequest { pool: POOL.into() };
        world.client.clone().pool_stats(request).await.unwrap().into_inner()
    };
    assert_eq!(stats().await, Default::default());
    for pair in 0..3 {
        let one = world.join(&format!("one-{pair}"), "female", &[]).await;
        assert_eq!(stats().await.waiting, 1);
        world.around.clock.advance(200);
        world.join(&format!("two-{pair}"), "male", &[]).await;
        world.matched(&one).await;
    }
    world.join("last", "female", &[]).await;
    let pools = world.client.clone().list_pools(ListPoolsRequest {}).await.unwrap().into_inner();
    let of_pool = pools.pools.iter().find(|summary| summary.pool == POOL).unwrap();
    assert_eq!(of_pool.stats, Some(stats().await), "{pools:?}");
    assert!(pools.pools.is_sorted_by_key(|summary| summary.pool.clone()), "{pools:?}");
    let stats = stats().await;
    assert_eq!((stats.waiting, stats.matches_last_minute), (1, 3));
    assert_eq!(stats.median_wait_ms, Some(200));
    let seeded = World::open(world.close().await).await;
    let request = PoolStatsRequest { pool: POOL.into() };
    let again = seeded.client.clone().pool_stats(request).await.unwrap().into_inner();
    assert_eq!(again, stats, "the recent past survives a restart");
}

#[tokio::test]
async fn the_role_binds_with_nothing_but_its_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = Context::for_test(&[Config::DEFAULTS], "");
    let backends = Backends {
        database: database(dir.path()).await.into(),
        redis: None,
        bus: std::sync::Arc::new(Memory::new()),
        clock: std::sync::Arc::new(SystemClock),
    };
    let bound = mingle_matchmaking::bind(ctx.clone(), backends).await.unwrap();
    let transport = mingle_runtime::grpc::Transport::local(bound.into_routes().unwrap());
    let wish = request("ann", "female", &[]);
    let reply = Client::new(transport).create_ticket(wish).await.unwrap();
    assert_eq!(reply.into_inner().ticket.unwrap().state(), TicketState::Waiting);
    ctx.stop.cancel();
    ctx.tasks.close();
    ctx.tasks.wait().await;
}
