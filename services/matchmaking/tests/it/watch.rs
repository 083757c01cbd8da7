//! The stream that follows tickets.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mingle_proto::matchmaking::v1::{TicketIds, TicketState, WatchRequest, watch_request::Action};
use mingle_store::{
    Error, ErrorKind, Result,
    bus::{Announcement, Bus, Memory, Subscription},
};
use tokio::sync::mpsc;

use crate::{
    fakes::Mood,
    world::{Around, Follower, World, fault},
};

#[tokio::test]
async fn each_ticket_is_answered_with_its_state_then_with_its_end() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &["male"]).await;
    let eve = world.join("eve", "female", &["male"]).await;
    let mut follower = Follower::of(&world.client).await;
    let absent = "019aa000-0000-7000-8000-000000000000";
    follower.act(Action::Add, &[&ann.ticket_id, absent]).await;
    assert_eq!(follower.state().await, ann);
    let nobody = follower.state().await;
    assert_eq!((nobody.ticket_id.as_str(), nobody.state()), (absent, TicketState::Unspecified));
    follower.act(Action::Add, &[&eve.ticket_id]).await;
    assert_eq!(follower.state().await, eve);

    world.cancel("eve", &eve.ticket_id).await.unwrap();
    let end = follower.state().await;
    assert_eq!((&end.ticket_id, end.state()), (&eve.ticket_id, TicketState::Cancelled));
    world.join("bob", "male", &[]).await;
    let end = follower.state().await;
    assert_eq!((&end.ticket_id, end.state()), (&ann.ticket_id, TicketState::Matched));
    assert_eq!(end.user_ids, ["ann", "bob"]);
    assert_eq!(end.room_id, format!("room-{}", end.match_id));
    // What has ended is answered with its end.
    follower.act(Action::Add, &[&eve.ticket_id]).await;
    assert_eq!(follower.state().await.state(), TicketState::Cancelled);
}

#[tokio::test]
async fn a_match_is_told_only_when_its_room_is_there() {
    let mut world = World::new().await;
    world.around.chat.set(Mood::Away);
    let ann = world.join("ann", "female", &[]).await;
    world.join("bob", "male", &[]).await;
    mingle_testkit::eventually(crate::world::PATIENCE, "a match", async || {
        world.state(&ann).await == TicketState::Matched
    })
    .await;
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Add, &[&ann.ticket_id]).await;
    let state = follower.state().await;
    assert_eq!((state.state(), state.match_id.as_str()), (TicketState::Waiting, ""));
    follower.done().await;
    world.around.chat.set(Mood::Well);
    world.pass(1_001).await;
    let state = follower.state().await;
    assert_eq!((state.state(), state.room_id.is_empty()), (TicketState::Matched, false));
}

#[tokio::test]
async fn what_is_removed_is_not_followed_and_what_was_told_stands_in_nobodys_way() {
    let world = World::new().await;
    let ann = world.join("ann", "female", &[]).await;
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Add, &[&ann.ticket_id]).await;
    follower.state().await;
    follower.act(Action::Remove, &[&ann.ticket_id]).await;
    follower.done().await;
    world.join("bob", "male", &[]).await;
    world.matched(&ann).await;
    world.tell(&[&ann]).await;
    let anew = world.join("ann", "female", &["other"]).await;
    assert_ne!(anew.ticket_id, ann.ticket_id);
}

#[tokio::test]
async fn requests_that_come_together_are_done_in_their_order() {
    let world = World::new().await;
    let mut tickets = Vec::new();
    for n in 0..300 {
        tickets.push(world.join(&format!("user-{n}"), "female", &["male"]).await);
    }
    // Sent before the stream is opened: they arrive together, and are more
    // than are done together.
    let (actions, queue) = mpsc::channel(1_000);
    let act = |action: fn(TicketIds) -> Action, ids: &[&str]| {
        let ticket_ids = ids.iter().map(|&id| id.to_owned()).collect();
        let action = Some(action(TicketIds { ticket_ids }));
        actions.try_send(WatchRequest { action }).unwrap();
    };
    for (n, ticket) in tickets.iter().enumerate() {
        let id = ticket.ticket_id.as_str();
        act(Action::Add, &[id, id]);
        if n % 3 == 0 {
            act(Action::Remove, &[id]);
        }
        if n % 6 == 0 {
            act(Action::Add, &[id]);
        }
    }
    act(Action::Add, &["none"]);
    let mut follower = Follower::over(&world.client, actions, queue).await;
    let mut seen = Vec::new();
    loop {
        let ticket = follower.state().await;
        assert!(ticket.state() != TicketState::Unspecified || ticket.ticket_id == "none");
        if ticket.ticket_id == "none" {
            break;
        }
        seen.push(ticket.ticket_id);
    }
    follower.done().await;
    // Of those removed at once it may be that they were answered before.
    for (n, ticket) in tickets.iter().enumerate().filter(|(n, _)| n % 6 == 0 || n % 3 != 0) {
        assert!(seen.contains(&ticket.ticket_id), "ticket {n}");
    }
    for (n, ticket) in tickets.iter().enumerate() {
        world.cancel(&format!("user-{n}"), &ticket.ticket_id).await.unwrap();
    }
    let mut ended = BTreeSet::new();
    while ended.len() < 250 {
        let ticket = follower.state().await;
        assert_eq!(ticket.state(), TicketState::Cancelled);
        assert!(ended.insert(ticket.ticket_id), "told once");
    }
    follower.done().await;
}

#[tokio::test]
async fn too_many_ids_end_the_stream_by_name() {
    let world = World::new().await;
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Alive, &["x"; 1_001]).await;
    let expected = ("INVALID_ARGUMENT", "TOO_LONG".into(), "alive.ticket_ids".into());
    assert_eq!(fault(follower.next().await), expected);
}

/// A bus that loses announcements, or is full at once.
struct Lossy {
    inner: Memory,
    lost: AtomicUsize,
    flood: bool,
}

#[async_trait::async_trait]
impl Bus for Lossy {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        self.lost.fetch_add(1, Ordering::SeqCst);
        if !self.flood {
            return Err(Error::new(ErrorKind::Unavailable, "lost"));
        }
        // More than a subscriber can hold: what it is told is that there is a gap.
        for _ in 0..3_000 {
            self.inner.publish(batch).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.inner.subscribe(topic).await
    }
}

async fn is_found_in_the_rows(flood: bool, recheck_ms: u64) {
    let bus = Arc::new(Lossy { inner: Memory::new(), lost: AtomicUsize::new(0), flood });
    let overrides = format!("[matchmaking]\nrecheck_ms = {recheck_ms}");
    let world = World::open(Around { bus: bus.clone(), overrides, ..Around::default() }).await;
    let ann = world.join("ann", "female", &[]).await;
    let mut follower = Follower::of(&world.client).await;
    follower.act(Action::Add, &[&ann.ticket_id]).await;
    follower.state().await;
    world.join("bob", "male", &[]).await;
    assert_eq!(follower.state().await.state(), TicketState::Matched);
    assert!(bus.lost.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_lost_announcement_is_found_in_the_rows() {
    is_found_in_the_rows(false, 10).await;
}

#[tokio::test]
async fn a_gap_of_the_bus_is_closed_from_the_rows() {
    is_found_in_the_rows(true, 3_600_000).await;
}
