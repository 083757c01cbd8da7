//! The tasks that keep followed rooms complete.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mingle_store::{
    Result,
    bus::{Delivery, Subscription},
    commit::{Batch, Lanes, MAX_BATCH},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    board::Board,
    envelope::{Incoming, decode, topic},
    follower::{Follower, Need, SessionId},
    outbox::{Bounds, Outbox},
};
use crate::{domain::Position, store::Store, wire};

/// Events read from the store at once.
const PAGE: usize = 200;
/// Rooms whose heads are compared in one query.
const HEADS: usize = 10_000;
/// The pause after a failure of the bus or the store.
const RETRY: Duration = Duration::from_millis(500);

/// How a process follows rooms.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// An event that came too early waits so long for those before it.
    pub hold: Duration,
    /// Between two comparisons of heads with the store.
    pub heads: Duration,
    /// What may wait for one stream.
    pub queue: Bounds,
    /// Rooms of one stream.
    pub rooms: usize,
}

/// Follows rooms for the streams of one process.
#[derive(Clone)]
pub struct Hub {
    pub(super) settings: Settings,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    board: Board,
    store: Arc<dyn Store>,
    heads: Lanes<Heads>,
    next_session: Arc<AtomicU64>,
}

impl Hub {
    /// Follows rooms of `store` as they are put up on `board`, until `stop`.
    pub fn start(
        board: Board,
        store: Arc<dyn Store>,
        settings: Settings,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let next_session = Arc::default();
        let heads = Lanes::start(Arc::new(Heads(store.clone())), 1, MAX_BATCH);
        let hub = Self { settings, tasks, stop, board, store, heads, next_session };
        hub.tasks.spawn(compare_heads(hub.clone()));
        hub
    }

    /// Where announcements go.
    pub fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn new_session(&self) -> SessionId {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a stream to a room; the first one starts following it.
    pub(super) fn attach(&self, room_id: &str, id: SessionId, outbox: &Arc<Outbox>) {
        let entry = self.board.rooms.entry(room_id.to_owned());
        let follower = entry.or_insert_with(|| {
            let follower = Arc::new(Follower::new(room_id, self.stop.child_token()));
            self.tasks.spawn(follow(self.clone(), follower.clone()));
            follower
        });
        // Under the entry's lock, so that the room is not given up meanwhile.
        follower.attach(id, outbox);
    }

    /// True when the stream is told of the room.
    pub(super) fn follows(&self, room_id: &str, id: SessionId) -> bool {
        self.board.rooms.get(room_id).is_some_and(|follower| follower.tells(id))
    }

    /// Takes a stream away from a room; the last one ends following it.
    pub(super) fn detach(&self, room_id: &str, id: SessionId) {
        if let dashmap::Entry::Occupied(entry) = self.board.rooms.entry(room_id.to_owned())
            && entry.get().detach(id)
        {
            entry.get().stop.cancel();
            entry.remove();
        }
    }

    /// The room is not there: its streams are told, and it is given up.
    fn give_up(&self, follower: &Arc<Follower>) {
        if let dashmap::Entry::Occupied(entry) = self.board.rooms.entry(follower.room_id.clone())
            && Arc::ptr_eq(entry.get(), follower)
        {
            follower.not_found();
            entry.remove();
        }
    }
}

async fn follow(hub: Hub, follower: Arc<Follower>) {
    let stop = follower.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen(&hub, &follower) => {}
    }
}

/// Listens for good; a bus that ends is subscribed to again.
async fn listen(hub: &Hub, follower: &Arc<Follower>) {
    loop {
        match subscribe(hub, follower).await {
            Ok(Some(subscription)) => attend(hub, follower, subscription).await,
            Ok(None) => return hub.give_up(follower),
            Err(error) => tracing::debug!(%error, "room not followed yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The order matters: the bus confirms, then the head is read, so that every
/// event is either up to the head or announced. `None`: there is no such room.
async fn subscribe(hub: &Hub, follower: &Follower) -> Result<Option<Subscription>> {
    let subscription = hub.board.bus.subscribe(&topic(&follower.room_id)).await?;
    if follower.last().is_some() {
        follower.ask_repair();
        return Ok(Some(subscription));
    }
    let head = hub.heads.submit("", follower.room_id.clone()).await?;
    Ok(head.map(|head| {
        follower.open(wire::position(&head));
        subscription
    }))
}

/// Rooms that are opened at the same time share one read of their heads: a
/// gateway that comes back names thousands at once.
struct Heads(Arc<dyn Store>);

#[async_trait]
impl Batch for Heads {
    type Item = String;
    type Outcome = Option<Position>;

    async fn run(&self, room_ids: &[String]) -> Result<Vec<Option<Position>>> {
        let heads = self.0.heads(room_ids).await?;
        Ok(room_ids.iter().map(|room_id| heads.get(room_id).cloned()).collect())
    }
}

/// Passes on what the bus brings, and reads what it does not.
async fn attend(hub: &Hub, follower: &Follower, mut subscription: Subscription) {
    let mut patience: Option<Instant> = None;
    loop {
        match follower.need() {
            Need::Nothing => patience = None,
            Need::Patience => _ = patience.get_or_insert(Instant::now() + hub.settings.hold),
            Need::Repair => {
                patience = None;
                if let Err(error) = repair(hub, follower).await {
                    tracing::debug!(%error, "room not repaired yet");
                    follower.ask_repair();
                    tokio::time::sleep(RETRY).await;
                }
                continue;
            }
        }
        tokio::select! {
            delivery = subscription.recv() => match delivery {
                Some(Delivery::Message(bytes)) => match decode(hub.board.origin, bytes) {
                    Incoming::Own => {}
                    Incoming::Foreign(response) => follower.take(response),
                    Incoming::Unreadable => follower.ask_repair(),
                },
                Some(Delivery::Gap) => follower.ask_repair(),
                None => return,
            },
            () = follower.wake.notified() => {}
            () = until(patience) => {
                patience = None;
                follower.ask_repair();
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Reads what is missing, to the end of the log.
async fn repair(hub: &Hub, follower: &Follower) -> Result<()> {
    follower.begin_repair();
    while let Some(last) = follower.last() {
        let page = hub.store.range(&follower.room_id, last.seq, PAGE).await?;
        if let Some(first) = page.events.first() {
            follower.skip_to(first.seq);
        }
        let events = page.events.iter().map(wire::event).collect();
        follower.pass(events, String::new(), None);
        if !page.has_more {
            break;
        }
    }
    Ok(())
}

/// What no announcement told, the heads tell: also after a crash between
/// commit and announcement.
async fn compare_heads(hub: Hub) {
    let mut tick = tokio::time::interval(hub.settings.heads);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hub.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let followed: Vec<_> = hub.board.rooms.iter().map(|entry| entry.key().clone()).collect();
        for rooms in followed.chunks(HEADS) {
            let heads = match hub.store.heads(rooms).await {
                Ok(heads) => heads,
                Err(error) => {
                    tracing::debug!(%error, "heads not compared");
                    break;
                }
            };
            for (room_id, head) in heads {
                let follower = hub.board.rooms.get(&room_id).map(|follower| follower.clone());
                if let Some(follower) = follower {
                    compare_head(&hub, &follower, head).await;
                }
            }
        }
    }
}

async fn compare_head(hub: &Hub, follower: &Follower, head: Position) {
    let Some(last) = follower.last() else { return };
    if last.seq < head.seq {
        return follower.ask_repair();
    }
    if last.seq == head.seq && last.id == head.id {
        return;
    }
    // Either the head was read before the last event was committed, or the
    // store was put back: the event itself tells.
    let last = Position { seq: last.seq, id: last.id };
    match hub.store.replay(&follower.room_id, &last, 1).await {
        Ok(Some(replay)) if replay.proved.is_err() => {
            tracing::warn!(room = follower.room_id, seq = last.seq, "the log went back");
            follower.start_over(wire::position(&replay.room.head));
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "head not compared"),
    }
}
