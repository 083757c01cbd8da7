//! Who is told of what was committed.

use crate::domain::Event;

/// Told of each wish that came true, once, in the order of seq per room, by
/// the process that committed it.
pub trait Announce: Send + Sync + 'static {
    /// `events` of one room are durable. Must not wait.
    fn announce(&self, events: &[Event], traceparent: &str);
}
