//! Chat fails for a while, or the database.

use mingle_proto::matchmaking::v1::{Ticket, TicketState, watch_request::Action};
use mingle_runtime::status::Described;
use mingle_testkit::eventually;

use crate::{
    fakes::Mood,
    world::{Follower, PATIENCE, World, fault, request},
};

/// Matches twenty pairs while chat fails, then lets it recover.
async fn one_room_per_match_in_the_end(mood: Mood) {
    let mut world = World::new().await;
    world.around.chat.set(mood);
    let mut tickets: Vec<Ticket> = Vec::new();
    for pair in 0..20 {
        tickets.push(world.join(&format!("one-{pair}"), "female", &["male"]).await);
        tickets.push(world.join(&format!("two-{pair}"), "male", &["female"]).await);
    }
    for ticket in &tickets {
        eventually(PATIENCE, "every pair to be matched", async || {
            let now = world.get(&ticket.user_id, &ticket.ticket_id).await.unwrap();
            now.state() == TicketState::Matched
        })
        .await;
    }
    for round in 1..=3 {
        world.pass(1_001).await;
        eventually(PATIENCE, "every match to be tried again", async || {
            world.around.chat.failed() >= 20 * round
        })
        .await;
    }
    for ticket in &tickets {
        let now = world.get(&ticket.user_id, &ticket.ticket_id).await.unwrap();
        assert_eq!((now.state(), now.room_id.as_str()), (TicketState::Matched, ""));
    }
    world.around.chat.set(Mood::Well);
    let sql = world.sql().await;
    eventually(PATIENCE, "every match to have its room", async || {
        world.pass(1_001).await;
        let roomless = "select count(*) from mm_matches where room_id is null";
        sqlx::query_scalar::<_, i64>(roomless).fetch_one(&sql).await.unwrap() == 0
    })
    .await;
    let rows: Vec<(String, String)> =
        sqlx::query_as("select match_id, user_ids from mm_matches order by match_id")
            .fetch_all(&sql)
            .await
            .unwrap();
    assert_eq!(rows.len(), 20);
    let users = |members: Vec<String>| serde_json::to_string(&members).unwrap();
    let rooms: Vec<_> =
        world.around.chat.rooms().into_iter().map(|(id, members)| (id, users(members))).collect();
    assert_eq!(rooms, rows, "one room per match, of its users");
    for ticket in &tickets {
        assert!(!world.matched(ticket).await.room_id.is_empty());
    }
}

#[tokio::test]
async fn chat_is_away() {
    one_room_per_match_in_the_end(Mood::Away).await;
}

#[tokio::test]
async fn chat_makes_the_rooms_and_loses_its_answers() {
    one_room_per_match_in_the_end(Mood::Forgetful).await;
}

#[tokio::test]
async fn without_the_database_calls_say_so_and_streams_and_health_too() {
    let mut world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    world.sweep().await;
    assert!(!world.ctx.health.degraded().borrow().contains("matchmaking-database"));
    world.database.close().await;
    let away = || ("UNAVAILABLE", "UNAVAILABLE".to_owned(), String::new());
    let refused = world.create(request("bob", "male", &[])).await.unwrap_err();
    assert!(Described::from(&refused).retry_after.is_some());
    assert_eq!(fault::<()>(Err(refused)), away());
    assert_eq!(fault(world.get("ann", &ann.ticket_id).await), away());
    assert_eq!(fault(world.cancel("ann", &ann.ticket_id).await), away());
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Add, &[&ann.ticket_id]).await;
    assert_eq!(fault(follower.next().await), away());
    world.sweep().await;
    assert!(world.ctx.health.degraded().borrow().contains("matchmaking-database"));
    // Nothing was lost: the next process finds her waiting.
    let world = World::open(world.close().await).await;
    assert_eq!(world.state(&ann).await, TicketState::Waiting);
}
