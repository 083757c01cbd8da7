//! The tasks that keep followed rooms complete.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mingle_runtime::{Role, grpc::sight::Sight};
use mingle_store::{
    Result,
    backoff::Backoff,
    bus::{Delivery, Subscription},
    commit::Lanes,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    board::Board,
    envelope::{Incoming, decode, topic},
    follower::{Follower, Need, SessionId},
    heads::{Heads, compare, compare_all},
    outbox::{Bounds, Outbox},
};
use crate::{store::Store, wire};

/// Events read from the store at once.
const PAGE: usize = 200;
/// Logs that are read at the same time: all rooms may be behind at once, and
/// sends use the same connections.
const REPAIRS: usize = 4;
/// A store that takes longer to say where no room stands is as good as away.
const ANSWER: Duration = Duration::from_secs(2);

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
    pub(super) store: Arc<dyn Store>,
    /// Of rooms that are opened.
    heads: Lanes<Heads>,
    /// Of rooms that may have missed something: they do not stand before those.
    pub(super) doubts: Lanes<Heads>,
    pub(super) repairs: Arc<Semaphore>,
    sight: Sight,
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
        let (heads, doubts) = (Heads::lane(&store, &stop), Heads::lane(&store, &stop));
        let repairs = Arc::new(Semaphore::new(REPAIRS));
        let sight = Sight::new(Role::Chat.name());
        let hub = Self {
            settings,
            tasks,
            stop,
            board,
            store,
            heads,
            doubts,
            repairs,
            sight,
            next_session,
        };
        hub.tasks.spawn(compare_all(hub.clone()));
        let looks = hub.clone();
        let sees = move || sees(looks.clone());
        hub.tasks.spawn(hub.sight.clone().keep(hub.stop.clone(), sees));
        hub
    }

    /// Whether there is anything to tell streams of.
    pub fn sight(&self) -> &Sight {
        &self.sight
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

    /// Every room that is followed now.
    pub(super) fn followed(&self) -> Vec<Arc<Follower>> {
        self.board.rooms.iter().map(|entry| entry.value().clone()).collect()
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

/// True while it is found out what others commit: the bus tells of it, or else
/// the store can be asked.
async fn sees(hub: Hub) -> bool {
    let answers = async {
        match timeout(ANSWER, hub.store.heads(&[])).await {
            Ok(Err(error)) => !error.is_transient(),
            answer => answer.is_ok(),
        }
    };
    hub.board.bus.is_heard() || answers.await
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
    let mut backoff = Backoff::new();
    loop {
        let begun = Instant::now();
        match subscribe(hub, follower).await {
            Ok(Some(subscription)) => attend(hub, follower, subscription).await,
            Ok(None) => return hub.give_up(follower),
            Err(error) => tracing::debug!(%error, "room not followed yet"),
        }
        tokio::time::sleep(backoff.after(begun.elapsed())).await;
    }
}

/// The order matters: the bus confirms, then the head is read, so that every
/// event is either up to the head or announced. Until it could be read the
/// subscription is kept. `None`: there is no such room.
async fn subscribe(hub: &Hub, follower: &Follower) -> Result<Option<Subscription>> {
    let subscription = hub.board.bus.subscribe(&topic(&follower.room_id)).await?;
    if follower.last().is_some() {
        follower.doubt();
        return Ok(Some(subscription));
    }
    let head = hub.heads.submit("", follower.room_id.clone()).await?;
    Ok(head.map(|head| {
        follower.open(wire::position(&head));
        subscription
    }))
}

/// Passes on what the bus brings, and reads what it does not.
async fn attend(hub: &Hub, follower: &Follower, mut subscription: Subscription) {
    let mut patience: Option<Instant> = None;
    let mut backoff = Backoff::new();
    loop {
        match follower.need() {
            Need::Nothing => patience = None,
            Need::Patience => _ = patience.get_or_insert(Instant::now() + hub.settings.hold),
            need @ (Need::Comparison | Need::Repair) => {
                patience = None;
                match heal(hub, follower, need).await {
                    Ok(()) => backoff = Backoff::new(),
                    Err(_) => tokio::time::sleep(backoff.next()).await,
                }
                continue;
            }
        }
        tokio::select! {
            delivery = subscription.recv() => match delivery {
                Some(Delivery::Message(bytes)) => match decode(hub.board.origin, bytes) {
                    Incoming::Own => {}
                    Incoming::Foreign(response) => follower.take(response),
                    Incoming::Unreadable => follower.doubt(),
                },
                Some(Delivery::Gap) => follower.doubt(),
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

/// Does what is needed; what fails is needed still.
async fn heal(hub: &Hub, follower: &Follower, need: Need) -> Result<()> {
    let is_known = need == Need::Repair;
    let healed = if is_known { repair(hub, follower).await } else { compare(hub, follower).await };
    healed.inspect_err(|error| {
        tracing::debug!(%error, "room not repaired yet");
        if is_known { follower.ask_repair() } else { follower.doubt() }
    })
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
        let _place = hub.repairs.acquire().await;
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
