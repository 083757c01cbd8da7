//! What one process does, the others tell.

use mingle_proto::matchmaking::v1::{PoolStatsRequest, TicketState, watch_request::Action};
use mingle_testkit::eventually;

use super::{Instance, Site};
use crate::{
    fakes::Mood,
    world::{Follower, PATIENCE, POOL, cancel, get},
};

#[tokio::test]
async fn strangers_meet_whichever_process_they_joined_through() {
    let site = Site::new().await;
    let (one, other) = (site.instance().await, site.instance().await);
    for round in 0..20 {
        let ann = one.join(&format!("ann-{round}"), "female", &["male"]).await;
        let mut follower = Follower::of(&one.client).await;
        follower.act(Action::Add, &[&ann.ticket_id]).await;
        assert_eq!(follower.state().await.state(), TicketState::Waiting);
        let bob = other.join(&format!("bob-{round}"), "male", &["female"]).await;
        // By the bus: this stream does not read the rows again.
        let told = follower.state().await;
        assert_eq!(told.user_ids, [ann.user_id.clone(), bob.user_id.clone()]);
        assert!(!told.room_id.is_empty());
        assert_eq!(other.matched(&bob).await.match_id, told.match_id);
    }
    assert_eq!(site.chat.rooms().len(), 20);
}

#[tokio::test]
async fn a_cancel_through_another_process_counts_for_all() {
    let site = Site::new().await;
    let (one, other) = (site.instance().await, site.instance().await);
    let ann = one.join("ann", "female", &["male"]).await;
    one.until_waiting(1).await;
    let mut follower = Follower::of(&one.client).await;
    follower.act(Action::Add, &[&ann.ticket_id]).await;
    assert_eq!(follower.state().await.state(), TicketState::Waiting);
    let ended = cancel(&other.client, "ann", &ann.ticket_id).await.unwrap();
    assert_eq!(ended.state(), TicketState::Cancelled);
    assert_eq!(follower.state().await.state(), TicketState::Cancelled);
    assert_eq!(one.waiting().await.unwrap(), 0);
    let bob = one.join("bob", "male", &[]).await;
    let again = get(&other.client, "bob", &bob.ticket_id, 0).await.unwrap();
    assert_eq!(again.state(), TicketState::Waiting);
}

#[tokio::test]
async fn another_process_completes_the_matches_of_a_killed_one() {
    let site = Site::new().await;
    let (dies, lives) = (site.instance().await, site.instance().await);
    site.chat.set(Mood::Away);
    let ann = dies.join("ann", "female", &[]).await;
    let bob = dies.join("bob", "male", &[]).await;
    eventually(PATIENCE, "an attempt", async || site.chat.failed() > 0).await;
    assert_eq!(site.count("select count(*) from mm_matches where room_id is null").await, 1);
    dies.kill();
    assert!(site.chat.rooms().is_empty());
    let mut follower = Follower::of(&lives.client).await;
    follower.act(Action::Add, &[&bob.ticket_id]).await;
    assert_eq!(follower.state().await.state(), TicketState::Waiting, "not told before the room");
    site.chat.set(Mood::Well);
    let told = follower.state().await;
    assert_eq!(told.user_ids, ["ann", "bob"]);
    assert_eq!(lives.matched(&ann).await.room_id, told.room_id);
    assert_eq!(site.chat.rooms().into_keys().collect::<Vec<_>>(), [told.match_id]);
}

async fn recent(instance: &Instance) -> (u64, Option<u64>) {
    let request = PoolStatsRequest { pool: POOL.to_owned() };
    let stats = instance.client.clone().pool_stats(request).await.unwrap().into_inner();
    (stats.matches_last_minute, stats.median_wait_ms)
}

#[tokio::test]
async fn each_process_counts_the_matches_of_all() {
    let site = Site::new().await;
    let (one, other) = (site.instance().await, site.instance().await);
    for (round, through) in [&one, &other, &one].into_iter().enumerate() {
        through.join(&format!("ann-{round}"), "female", &["male"]).await;
        let bob = through.join(&format!("bob-{round}"), "male", &["female"]).await;
        through.matched(&bob).await;
    }
    for instance in [&one, &other] {
        eventually(PATIENCE, "three matches", async || recent(instance).await.0 == 3).await;
        assert!(recent(instance).await.1.is_some());
    }
    let late = site.instance().await;
    assert_eq!(recent(&late).await.0, 3, "known from the start");
    // Read again and again, they are not counted again.
    late.join("carl", "male", &[]).await;
    one.join("dora", "female", &[]).await;
    for instance in [&one, &other, &late] {
        eventually(PATIENCE, "the fourth", async || recent(instance).await.0 >= 4).await;
        assert_eq!(recent(instance).await.0, 4);
    }
}
