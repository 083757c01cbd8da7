//! What time brings about: recent partners, parking, leases, presence, expiry.

use mingle_proto::{
    matchmaking::v1::{Liveness, Ticket, TicketState, watch_request::Action},
    presence::v1::Status as Shown,
};
use mingle_testkit::eventually;

use crate::world::{Follower, PATIENCE, World, request};

/// Matches ann and bob, tells both, and lets both look again.
async fn meet_and_look_again(world: &World) -> (Ticket, Ticket) {
    let ann = world.join("ann", "female", &[]).await;
    let bob = world.join("bob", "male", &[]).await;
    world.matched(&ann).await;
    world.tell(&[&ann, &bob]).await;
    (world.join("ann", "female", &[]).await, world.join("bob", "male", &[]).await)
}

async fn settled(world: &World, matches: i64) {
    let sql = world.sql().await;
    eventually(PATIENCE, "as many matches", async || {
        let count: i64 =
            sqlx::query_scalar("select count(*) from mm_matches").fetch_one(&sql).await.unwrap();
        count == matches
    })
    .await;
}

#[tokio::test]
async fn recent_partners_are_avoided_while_there_is_another() {
    let mut world = World::new().await;
    let (ann, bob) = meet_and_look_again(&world).await;
    world.pass(1_000).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
    let carl = world.join("carl", "male", &[]).await;
    assert_eq!(world.matched(&ann).await.user_ids, ["ann", "carl"]);
    world.matched(&carl).await;
    assert_eq!(world.state(&bob).await, TicketState::Waiting);
}

#[tokio::test]
async fn two_lonely_people_meet_again_after_a_while() {
    let mut world = World::new().await;
    let (ann, bob) = meet_and_look_again(&world).await;
    world.pass(4_999).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
    settled(&world, 1).await;
    world.pass(1).await;
    assert_eq!(world.matched(&ann).await.user_ids, ["ann", "bob"]);
    world.matched(&bob).await;
    settled(&world, 2).await;
}

#[tokio::test]
async fn a_partner_is_remembered_only_so_long() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let bob = world.join("bob", "male", &[]).await;
    world.matched(&ann).await;
    world.tell(&[&ann, &bob]).await;
    world.around.clock.advance(300_000);
    let ann = world.join("ann", "female", &[]).await;
    world.join("bob", "male", &[]).await;
    world.matched(&ann).await;
}

#[tokio::test]
async fn a_silent_partner_is_parked_and_comes_back_with_its_age() {
    let mut world = World::new().await;
    let ann = world.join("ann", "female", &["male"]).await;
    world.around.clock.advance(9_000);
    let eve = world.join("eve", "female", &["male"]).await;
    world.around.clock.advance(1_000);
    // ann was silent for ten seconds, eve for one.
    let bob = world.join("bob", "male", &["female"]).await;
    assert_eq!(world.matched(&bob).await.user_ids, ["bob", "eve"]);
    world.matched(&eve).await;
    let fay = world.join("fay", "female", &["male"]).await;
    world.pass(9_000).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Alive, &[&ann.ticket_id, &fay.ticket_id]).await;
    follower.done().await;
    let carl = world.join("carl", "male", &["female"]).await;
    assert_eq!(world.matched(&carl).await.user_ids, ["ann", "carl"], "ann is older than fay");
}

#[tokio::test]
async fn a_lease_ends_unless_it_is_renewed() {
    let mut world = World::new().await;
    let mut wish = request("ann", "female", &[]);
    wish.liveness = Liveness::Lease.into();
    let ann = world.create(wish.clone()).await.unwrap();
    for _ in 0..3 {
        world.pass(29_999).await;
        assert_eq!(world.state(&ann).await, TicketState::Waiting, "asking renews it");
    }
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Add, &[&ann.ticket_id]).await;
    assert_eq!(follower.state().await.state(), TicketState::Waiting);
    world.pass(30_000).await;
    assert_eq!(follower.state().await.state(), TicketState::Expired);
    assert_eq!(world.state(&ann).await, TicketState::Expired);
    assert_ne!(world.create(wish).await.unwrap().ticket_id, ann.ticket_id);
}

#[tokio::test]
async fn who_let_the_lease_end_is_not_matched_even_before_the_sweep() {
    let world = World::new().await;
    let mut wish = request("ann", "female", &[]);
    wish.liveness = Liveness::Lease.into();
    let ann = world.create(wish.clone()).await.unwrap();
    world.around.clock.advance(30_000);
    let bob = world.join("bob", "male", &[]).await;
    // The second wish of ann finds the first one overdue, and bob.
    let anew = world.create(wish).await.unwrap();
    assert_ne!(anew.ticket_id, ann.ticket_id);
    assert_eq!(world.matched(&anew).await.user_ids, ["ann", "bob"]);
    world.matched(&bob).await;
    assert_eq!(world.state(&ann).await, TicketState::Expired);
}

#[tokio::test]
async fn a_ticket_expires_only_when_presence_knows_that_its_owner_is_gone() {
    let mut world = World::new().await;
    let presence = world.around.presence.clone();
    let people = ["on", "off", "unknown", "away", "pinged"];
    let mut tickets = Vec::new();
    for user in people {
        tickets.push(world.join(user, "female", &["male"]).await);
    }
    presence.set("off", Shown::Offline);
    presence.set("unknown", Shown::Unknown);
    presence.set("away", Shown::Away);
    presence.set("pinged", Shown::Offline);
    world.pass(9_999).await;
    assert!(presence.asked().is_empty(), "nobody is asked for who was there a moment ago");
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Alive, &[&tickets[4].ticket_id]).await;
    follower.done().await;
    presence.set_away(true);
    world.pass(1).await;
    for ticket in &tickets {
        assert_eq!(world.state(ticket).await, TicketState::Waiting, "presence cannot tell");
    }
    presence.set_away(false);
    world.sweep().await;
    assert_eq!(presence.asked(), ["on", "off", "unknown", "away"]);
    for (ticket, user) in tickets.iter().zip(people) {
        let gone = world.state(ticket).await == TicketState::Expired;
        assert_eq!(gone, user == "off", "{user}");
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_pool_allows() {
    let mut world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    world.pass(599_999).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
    world.pass(1).await;
    assert_eq!(world.state(&ann).await, TicketState::Expired);
}

#[tokio::test]
async fn an_outcome_that_nobody_took_is_forgotten() {
    let mut world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    world.join("bob", "male", &[]).await;
    world.matched(&ann).await;
    world.pass(120_000).await;
    assert_eq!(world.join("ann", "female", &[]).await.ticket_id, ann.ticket_id);
    world.pass(1).await;
    assert_ne!(world.join("ann", "female", &[]).await.ticket_id, ann.ticket_id);
}

#[tokio::test]
async fn who_says_what_they_were_told_begins_anew_at_once() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    world.join("bob", "male", &[]).await;
    let ann = world.matched(&ann).await;
    let mut wish = request("ann", "female", &[]);
    assert_eq!(world.create(wish.clone()).await.unwrap(), ann, "the outcome comes first");
    wish.told_ticket_ids = vec![ann.ticket_id.clone()];
    let anew = world.create(wish).await.unwrap();
    assert_ne!(anew.ticket_id, ann.ticket_id);
    assert_eq!(anew.state(), TicketState::Waiting);
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_what_waits_is_not() {
    let mut world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let bob = world.join("bob", "male", &[]).await;
    world.matched(&ann).await;
    world.matched(&bob).await;
    world.pass(40 * 86_400_000).await;
    let cem = world.join("cem", "other", &["female"]).await;
    // Outcomes that nobody took are told first, by one sweep.
    world.pass(1_000).await;
    world.pass(1_000).await;
    let left: Vec<(String,)> = sqlx::query_as("select ticket_id from mm_tickets")
        .fetch_all(&world.sql().await)
        .await
        .unwrap();
    assert_eq!(left, [(cem.ticket_id,)]);
    let matches: Vec<(String,)> = sqlx::query_as("select match_id from mm_matches")
        .fetch_all(&world.sql().await)
        .await
        .unwrap();
    assert!(matches.is_empty());
}
