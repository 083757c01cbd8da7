//! The rows and the index disagree: the rows are right.

use mingle_matchmaking::{
    domain::{Content, Liveness, State, Ticket},
    store::{Created, End, Tickets, sql::SqlTickets},
};
use mingle_proto::matchmaking::v1::TicketState;
use tokio::task::JoinSet;

use crate::world::{Around, POOL, START, World, get, request};

/// Another process that writes the same rows.
async fn elsewhere(world: &World) -> SqlTickets {
    SqlTickets::open(world.database.clone().into()).await.unwrap()
}

#[tokio::test]
async fn a_row_that_the_index_never_saw_is_found() {
    let mut world = World::new().await;
    let ann = Ticket {
        ticket_id: "019aa000-0000-7000-8000-000000000001".into(),
        user_id: "ann".into(),
        pool: POOL.into(),
        content: Content {
            attributes: [("gender".to_owned(), "female".to_owned())].into(),
            ..Content::default()
        },
        state: State::Waiting,
        liveness: Liveness::Presence,
        lease_until: None,
        created_at: START,
        expires_at: START + 600_000,
        ended_at: None,
        of: None,
        told: false,
    };
    let created = elsewhere(&world).await.create(ann, START).await.unwrap();
    assert_eq!(created, Created::New { overdue: None });
    let bob = world.join("bob", "male", &[]).await;
    world.pass(1_000).await;
    assert_eq!(world.state(&bob).await, TicketState::Waiting, "it may be on its way");
    world.pass(1).await;
    assert_eq!(world.matched(&bob).await.user_ids, ["ann", "bob"]);
}

#[tokio::test]
async fn a_stale_entry_is_dropped_and_the_survivor_keeps_its_age() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &["male"]).await;
    world.around.clock.advance(10);
    let eve = world.join("eve", "female", &["male"]).await;
    let rows = elsewhere(&world).await;
    for _ in 0..2 {
        rows.end(&ann.ticket_id, None, End::Gone, START).await.unwrap();
    }
    world.around.clock.advance(10);
    let bob = world.join("bob", "male", &["female"]).await;
    let matched = world.matched(&bob).await;
    assert_eq!(matched.user_ids, ["bob", "eve"]);
    assert_eq!(matched.created_at, bob.created_at);
    world.matched(&eve).await;
    assert_eq!(world.state(&ann).await, TicketState::Expired);
}

#[tokio::test]
async fn a_stale_entry_that_nobody_meets_is_dropped_by_the_sweep() {
    let mut world = World::new().await;
    let ann = world.join("ann", "female", &["male"]).await;
    elsewhere(&world).await.end(&ann.ticket_id, None, End::Gone, START).await.unwrap();
    let waiting = async |world: &World| {
        let request = mingle_proto::matchmaking::v1::PoolStatsRequest { pool: POOL.into() };
        world.client.clone().pool_stats(request).await.unwrap().into_inner().waiting
    };
    assert_eq!(waiting(&world).await, 1);
    world.pass(1_001).await;
    assert_eq!(waiting(&world).await, 0);
}

#[tokio::test]
async fn beyond_the_bounds_the_sweep_does_the_rest() {
    let overrides = "[matchmaking]\nmax_matches = 1\nmax_rooms = 1\nsweep_budget = 7".to_owned();
    let mut world = World::open(Around { overrides, ..Around::default() }).await;
    let mut joins = JoinSet::new();
    for n in 0..60 {
        let client = world.client.clone();
        let wish = request(&format!("user-{n}"), ["female", "male"][n % 2], &[]);
        joins.spawn(async move {
            client.clone().create_ticket(wish).await.unwrap().into_inner().ticket.unwrap()
        });
    }
    let tickets = joins.join_all().await;
    mingle_testkit::eventually(crate::world::PATIENCE, "everyone to be matched", async || {
        world.pass(100).await;
        let mut settled = 0;
        for ticket in &tickets {
            let now = get(&world.client, &ticket.user_id, &ticket.ticket_id, 0).await.unwrap();
            settled += usize::from(!now.room_id.is_empty());
        }
        settled == tickets.len()
    })
    .await;
    assert_eq!(world.around.chat.rooms().len(), 30);
}
