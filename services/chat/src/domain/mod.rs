//! Rooms, their logs, and what may happen to them: pure decisions over facts
//! that a store has read. No time, no chance, no I/O.

mod event;
mod intent;
mod invalid;
mod ledger;
mod replay;
mod room;
mod verdict;

pub use event::{Change, CloseReason, Event, Message};
pub use intent::{
    Answer, First, Hash, Intent, NewMessage, NewRoom, Refusal, Verdict, Wish, Written,
};
pub use invalid::{Fault, Invalid};
pub use ledger::{Account, Entry, Ledger, Target};
pub use replay::{Unproved, prove};
pub use room::{Bookmark, Cursor, Kind, Membership, Position, Room, View};
