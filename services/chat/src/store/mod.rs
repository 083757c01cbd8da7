//! What chat asks of a database.

mod announce;
mod sql;

use std::collections::HashMap;

use async_trait::async_trait;
use mingle_store::Result;

use crate::domain::{Bookmark, Event, Membership, Position, Room, Unproved, Verdict, View, Wish};

pub use announce::Announce;
pub use sql::{Options, SqlStore, migrate, pending};

/// What a page of events holds at most, in bytes as [`Event::size`] counts.
pub const PAGE_BYTES: usize = 256 * 1024;

/// Rooms, members and logs, durable.
///
/// **Guarantees**: one method is one atomic intent. [`Store::write`] returns
/// after the commit is on disk; seq is gapless per room in the order of
/// commits; each read is of one snapshot.
///
/// **Errors**: those of the backend. After a transient one of `write` it is
/// unknown whether it happened: the same wish again finds out.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Does what `wish` wants, in one transaction with what others want at
    /// the same time; a refusal is an outcome and touches nobody else's.
    /// What happened is announced with `traceparent` before this returns.
    async fn write(&self, wish: Wish, traceparent: String) -> Result<Verdict>;

    /// Tells whether `sender` has said something in the room by this
    /// `client_msg_id`, whatever it was.
    async fn is_said(&self, room_id: &str, sender: &str, client_msg_id: &str) -> Result<bool>;

    /// Reads a room as `user` sees it; `None` when there is none.
    async fn view(&self, room_id: &str, user: &str) -> Result<Option<View>>;

    /// Reads at most `limit` rooms that `user` is in, and the pairs they were
    /// in, the last active first, after `bookmark`.
    async fn list(
        &self,
        user: &str,
        bookmark: Option<&Bookmark>,
        limit: usize,
    ) -> Result<Vec<View>>;

    /// Reads the members of a room, in order of joining.
    async fn members(&self, room_id: &str) -> Result<Vec<Membership>>;

    /// Reads the last `limit` messages before the seq, oldest first, as they
    /// read now; at most [`PAGE_BYTES`].
    async fn history(&self, room_id: &str, before: u64, limit: usize) -> Result<Page>;

    /// Reads at most `limit` events and [`PAGE_BYTES`] of the log after a
    /// position; the newest page when it cannot be proved. `None` when there
    /// is no such room.
    async fn replay(&self, room_id: &str, after: &Position, limit: usize)
    -> Result<Option<Replay>>;

    /// Reads at most `limit` events and [`PAGE_BYTES`] of the log after a seq.
    async fn range(&self, room_id: &str, after: u64, limit: usize) -> Result<Page>;

    /// Reads where rooms stand; those that are not are left out.
    async fn heads(&self, room_ids: &[String]) -> Result<HashMap<String, Position>>;

    /// Tells which of `others` share a room with `user`, in their order.
    async fn shared(&self, user: &str, others: &[String]) -> Result<Vec<String>>;

    /// Names at most `limit` open pairs without an event since the time.
    async fn idle(&self, since: i64, limit: usize) -> Result<Vec<String>>;

    /// Takes at most `limit` events before the time from the beginning of
    /// logs, and tells how many it took; 0 when none is left.
    async fn expire(&self, before: i64, limit: usize) -> Result<u64>;
}

/// Consecutive entries of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order of seq.
    pub events: Vec<Event>,
    /// There are more in the direction of reading.
    pub has_more: bool,
}

/// The log after a position.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What follows the position, or the newest page.
    pub page: Page,
    /// The room, with its head, in the same snapshot.
    pub room: Room,
    /// Whether the position is proved.
    pub proved: std::result::Result<(), Unproved>,
}
