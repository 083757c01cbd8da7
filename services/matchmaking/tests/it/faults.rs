//! Chat fails for a while.

use mingle_proto::matchmaking::v1::{Ticket, TicketState};
use mingle_testkit::eventually;

use crate::{
    fakes::Mood,
    world::{PATIENCE, World},
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
