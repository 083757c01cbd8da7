//! From a match to its room, exactly once by the match's id, and then to those
//! who wait for it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use mingle_proto::chat::v1::{CreateRoomRequest, RoomKind, chat_service_client::ChatServiceClient};
use mingle_runtime::{Role, peers::Peers};
use mingle_store::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status};

use super::Feed;
use crate::{domain::Match, store::Tickets};

/// Matches that wait for their turn in this process at most.
const MAX_WAITING: usize = 4_096;

/// Makes rooms, a bounded number at once.
pub struct Rooms {
    tickets: Arc<dyn Tickets>,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
    peers: Peers,
    call: Duration,
    permits: Semaphore,
    /// Matches whose room is being made by this process.
    making: Mutex<HashSet<String>>,
    /// Attempts that failed since one did not.
    failed: AtomicU32,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Why a match has no room yet.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("chat answers {0}")]
    Chat(#[source] Box<Status>),
    #[error("chat answers without a room")]
    NoRoom,
    #[error(transparent)]
    Store(#[from] mingle_store::Error),
}

/// How rooms are made.
pub struct Limits {
    /// Deadline of one call.
    pub call: Duration,
    /// Calls at once.
    pub max_rooms: usize,
}

impl Rooms {
    /// Reaches chat through `peers`; tasks belong to `tasks` and end at `stop`.
    pub fn new(
        tickets: Arc<dyn Tickets>,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
        limits: &Limits,
        ctx: &mingle_runtime::Context,
    ) -> Arc<Self> {
        Arc::new(Self {
            tickets,
            feed,
            clock,
            peers: ctx.peers.clone(),
            call: limits.call,
            permits: Semaphore::new(limits.max_rooms),
            making: Mutex::default(),
            failed: AtomicU32::new(0),
            tasks: ctx.tasks.clone(),
            stop: ctx.stop.clone(),
        })
    }

    /// Starts to make the room of `of`, unless that is under way. False when as
    /// many wait as may: the sweep comes back to it.
    pub fn start(self: &Arc<Self>, of: Match) -> bool {
        {
            let mut making = self.making.lock();
            if making.len() >= MAX_WAITING {
                return false;
            }
            if !making.insert(of.match_id.clone()) {
                return true;
            }
        }
        let rooms = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = rooms.stop.cancelled() => {}
                () = rooms.attempt(&of) => {}
            }
            rooms.making.lock().remove(&of.match_id);
        });
        true
    }

    async fn attempt(&self, of: &Match) {
        // Never closed, so this only waits.
        let _permit = self.permits.acquire().await;
        match self.complete(of).await {
            Ok(()) => {
                let failed = self.failed.swap(0, Relaxed);
                if failed > 0 {
                    tracing::info!(failed, "rooms are made again");
                }
            }
            // A line for each of those that wait would bury what else is told.
            Err(error) if self.failed.fetch_add(1, Relaxed) > 0 => {
                tracing::debug!(match.id = of.match_id, %error, "no room yet either");
            }
            Err(error) => {
                let next = "it is tried again each second";
                tracing::warn!(match.id = of.match_id, %error, next, "no room yet");
            }
        }
    }

    /// Creates the room, notes it, and announces the tickets. Whoever is
    /// second, here or in another process, finds the same room.
    #[tracing::instrument(name = "matchmaking.complete", skip_all, fields(match.id = of.match_id))]
    async fn complete(&self, of: &Match) -> Result<(), Failure> {
        let room_id = self.create(of).await?;
        let now = self.clock.now_ms();
        for ticket in self.tickets.complete(&of.match_id, &room_id, now).await? {
            self.feed.announce(&ticket).await;
        }
        Ok(())
    }

    async fn create(&self, of: &Match) -> Result<String, Failure> {
        let mut request = Request::new(CreateRoomRequest {
            actor: String::new(),
            kind: RoomKind::Pair.into(),
            name: String::new(),
            member_ids: of.user_ids.clone(),
            external_id: of.match_id.clone(),
        });
        request.set_timeout(self.call);
        let mut chat = ChatServiceClient::new(self.peers.get(Role::Chat));
        let reply = chat.create_room(request).await.map_err(|it| Failure::Chat(Box::new(it)))?;
        let room = reply.into_inner().room.ok_or(Failure::NoRoom)?;
        Some(room.room_id).filter(|id| !id.is_empty()).ok_or(Failure::NoRoom)
    }
}
