//! Where followed rooms stand in the store.
//!
//! What no announcement told, the heads tell. Many rooms ask at the same moment:
//! a gateway that comes back names thousands, and a gap of the bus is one of
//! every room. They share queries, one at a time, and only a room that is behind
//! has its log read.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    backoff::Backoff,
    commit::{Batch, Lanes, MAX_BATCH},
};
use tokio_util::sync::CancellationToken;

use super::{follower::Follower, hub::Hub};
use crate::{domain::Position, store::Store, wire};

/// Rooms whose heads are compared in one query, when all of them are.
const ALL: usize = 10_000;

/// Reads the heads of those who ask at the same time. While the store does not
/// answer it is asked by one for all, less and less often.
pub(super) struct Heads {
    store: Arc<dyn Store>,
    stop: CancellationToken,
}

impl Heads {
    /// One lane: who asks while a query is on its way shares the next one.
    pub(super) fn lane(store: &Arc<dyn Store>, stop: &CancellationToken) -> Lanes<Self> {
        let heads = Self { store: store.clone(), stop: stop.clone() };
        Lanes::start(Arc::new(heads), 1, MAX_BATCH)
    }

    /// Waits while the store is away. Any other error is of one of the rooms, and
    /// must not stop the rest.
    async fn read(&self, room_ids: &[String]) -> Result<HashMap<String, Position>> {
        let mut backoff = Backoff::new();
        loop {
            match self.store.heads(room_ids).await {
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "heads not read yet");
                }
                read => return read,
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

#[async_trait]
impl Batch for Heads {
    type Item = String;
    type Outcome = Option<Position>;

    async fn run(&self, room_ids: &[String]) -> Result<Vec<Option<Position>>> {
        let heads = self.stop.run_until_cancelled(self.read(room_ids)).await;
        let heads = heads.ok_or_else(|| Error::new(ErrorKind::Unavailable, "stopped"))??;
        Ok(room_ids.iter().map(|room_id| heads.get(room_id).cloned()).collect())
    }
}

/// Compares a room that may have missed something.
pub(super) async fn compare(hub: &Hub, follower: &Follower) -> Result<()> {
    follower.begin_comparison();
    let before = follower.last();
    match hub.doubts.submit("", follower.room_id.clone()).await? {
        Some(head) => judge(hub, follower, before, head).await,
        None => Ok(()),
    }
}

/// Compares every followed room now and then: what was lost without a gap is
/// found also after a crash between commit and announcement.
pub(super) async fn compare_all(hub: Hub) {
    let mut tick = tokio::time::interval(hub.settings.heads);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hub.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let followed = hub.followed();
        for followers in followed.chunks(ALL) {
            match compare_some(&hub, followers).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "heads not compared");
                    break;
                }
                // Of one of them, which the lane finds out.
                Err(_) => followers.iter().for_each(|follower| follower.doubt()),
            }
        }
    }
}

async fn compare_some(hub: &Hub, followers: &[Arc<Follower>]) -> Result<()> {
    let room_ids: Vec<_> = followers.iter().map(|follower| follower.room_id.clone()).collect();
    let before: Vec<_> = followers.iter().map(|follower| follower.last()).collect();
    let mut heads = hub.store.heads(&room_ids).await?;
    for (follower, before) in followers.iter().zip(before) {
        let Some(head) = heads.remove(&follower.room_id) else { continue };
        if let Err(error) = judge(hub, follower, before, head).await {
            tracing::debug!(%error, room = follower.room_id, "head not compared");
        }
    }
    Ok(())
}

/// What the head says of a room whose last event was `before` when it was asked
/// for.
async fn judge(
    hub: &Hub,
    follower: &Follower,
    before: Option<mingle_proto::chat::v1::Position>,
    head: Position,
) -> Result<()> {
    let Some(last) = follower.last() else { return Ok(()) };
    if last.seq < head.seq {
        follower.ask_repair();
        return Ok(());
    }
    // The head is of before an event that came meanwhile.
    let moved = before.is_none_or(|before| before != last);
    if moved || (last.seq == head.seq && last.id == head.id) {
        return Ok(());
    }
    // What was passed on is committed, so the store was put back: the event
    // itself proves it.
    let last = Position { seq: last.seq, id: last.id };
    let _place = hub.repairs.acquire().await;
    if let Some(replay) = hub.store.replay(&follower.room_id, &last, 1).await?
        && replay.proved.is_err()
    {
        tracing::warn!(room = follower.room_id, seq = last.seq, "the log went back");
        follower.start_over(wire::position(&replay.room.head));
    }
    Ok(())
}
