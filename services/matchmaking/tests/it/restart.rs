//! Everything is dropped and the same file opened again.

use mingle_proto::matchmaking::v1::{Liveness, TicketState, watch_request::Action};

use crate::{
    fakes::Mood,
    world::{Follower, World, request},
};

#[tokio::test]
async fn those_who_waited_wait_on_with_their_age() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &["male"]).await;
    world.around.clock.advance(1_000);
    let eve = world.join("eve", "female", &["male"]).await;
    let mut world = World::open(world.close().await).await;
    let bob = world.join("bob", "male", &[]).await;
    assert_eq!(world.matched(&bob).await.user_ids, ["ann", "bob"]);
    assert_eq!(world.state(&eve).await, TicketState::Waiting);

    // A later restart: eve is matched once her gateway is back.
    let around = world.close().await;
    around.clock.advance(120_000);
    around.presence.set("eve", mingle_proto::presence::v1::Status::Offline);
    world = World::open(around).await;
    let carl = world.join("carl", "male", &[]).await;
    world.sweep().await;
    assert_eq!(world.state(&eve).await, TicketState::Waiting, "she needs time to come back");
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Alive, &[&eve.ticket_id]).await;
    follower.done().await;
    world.sweep().await;
    assert_eq!(world.matched(&carl).await.user_ids, ["carl", "eve"]);
    world.matched(&ann).await;
}

#[tokio::test]
async fn who_does_not_come_back_after_a_restart_expires() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let around = world.close().await;
    around.clock.advance(120_000);
    around.presence.set("ann", mingle_proto::presence::v1::Status::Offline);
    let mut world = World::open(around).await;
    world.pass(29_999).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
    world.pass(1).await;
    assert_eq!(world.state(&ann).await, TicketState::Expired);
}

#[tokio::test]
async fn who_polls_has_a_lease_to_come_back_after_a_restart() {
    let world = World::new().await;
    let leased = async |user: &str| {
        let mut wish = request(user, "female", &[]);
        wish.liveness = Liveness::Lease.into();
        world.create(wish).await.unwrap()
    };
    let (ann, eve) = (leased("ann").await, leased("eve").await);
    let around = world.close().await;
    around.clock.advance(120_000);
    let mut world = World::open(around).await;
    world.sweep().await;
    world.pass(29_999).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting, "asking renews it");
    world.pass(1).await;
    assert_eq!(world.state(&eve).await, TicketState::Expired, "eve did not ask");
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
}

#[tokio::test]
async fn a_match_without_a_room_gets_it() {
    let world = World::new().await;
    world.around.chat.set(Mood::Away);
    let ann = world.join("ann", "female", &[]).await;
    let bob = world.join("bob", "male", &[]).await;
    mingle_testkit::eventually(crate::world::PATIENCE, "an attempt", async || {
        world.around.chat.failed() > 0
    })
    .await;
    let around = world.close().await;
    assert!(around.chat.rooms().is_empty());
    around.chat.set(Mood::Well);
    let mut world = World::open(around).await;
    assert_eq!(world.get("ann", &ann.ticket_id).await.unwrap().room_id, "");
    world.pass(1_001).await;
    let ann = world.matched(&ann).await;
    assert_eq!(world.matched(&bob).await.room_id, ann.room_id);
    assert_eq!(world.around.chat.rooms().into_keys().collect::<Vec<_>>(), [ann.match_id]);
}

#[tokio::test]
async fn a_ticket_that_no_longer_fits_its_pool_expires() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let bob = world.join("bob", "male", &["male"]).await;
    let mut around = world.close().await;
    around.overrides =
        "[matchmaking.pools.random-chat.attributes]\ngender = ['male', 'other']".into();
    let world = World::open(around).await;
    assert_eq!(world.state(&ann).await, TicketState::Expired);
    assert_eq!(world.state(&bob).await, TicketState::Waiting);
}
