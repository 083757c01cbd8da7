//! What a caller wants done to a room, and what became of it.

use std::{collections::BTreeMap, error::Error, fmt};

use super::{Event, Kind, Position, View};

/// SHA-256 of a content: what a request key stands for.
pub type Hash = [u8; 32];

/// One writer's wish. Its texts are within their bounds already.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The room; of a creation, the id it gets if it is new.
    pub room_id: String,
    /// What is wanted.
    pub intent: Intent,
    /// The trace of the request; kept with the events.
    pub trace_id: String,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub enum Intent {
    /// A room.
    Create(NewRoom),
    /// To say something.
    Message(NewMessage),
    /// One's own message to read anew.
    Edit {
        /// Who asks.
        actor: String,
        /// The message.
        message_id: String,
        /// How it shall read.
        body: String,
    },
    /// One's own message gone.
    Delete {
        /// Who asks.
        actor: String,
        /// The message.
        message_id: String,
    },
    /// To become a member.
    Join {
        /// Who asks.
        actor: String,
    },
    /// To be a member no longer.
    Leave {
        /// Who asks.
        actor: String,
    },
    /// The room closed.
    Close {
        /// Who asks.
        actor: String,
    },
    /// A pair room closed if nothing happened in it since.
    CloseIdle {
        /// Milliseconds since 1970.
        idle_since: i64,
    },
    /// One's read cursor moved on.
    Read {
        /// Who asks.
        actor: String,
        /// The last seq read.
        seq: u64,
    },
}

/// A room to be.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// What it is for.
    pub kind: Kind,
    /// Shown to users.
    pub name: String,
    /// Empty for a pair.
    pub creator: String,
    /// Its first members, distinct, the creator among them.
    pub members: Vec<String>,
    /// Makes the creation idempotent.
    pub external_id: Option<String>,
    /// Hash of kind and members.
    pub origin: Hash,
}

/// A message to be.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Who says it.
    pub sender: String,
    /// Unique per sender and room.
    pub client_msg_id: String,
    /// Hash of body and metadata.
    pub hash: Hash,
    /// What is said.
    pub body: String,
    /// What goes with it.
    pub metadata: BTreeMap<String, String>,
}

/// What a message's key was first answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// What the key stands for.
    pub hash: Hash,
    /// The message.
    pub position: Position,
    /// Milliseconds since 1970.
    pub sent_at: i64,
    /// Of the first Send.
    pub trace_id: String,
}

/// What became of a wish.
pub type Verdict = Result<Written, Refusal>;

/// A wish come true.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the caller is told.
    pub answer: Answer,
    /// What happened by it, in order; empty when it was so already.
    pub events: Vec<Event>,
}

/// What the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `Create` and `Join`: the room as the actor sees it.
    Room {
        /// The room.
        view: Box<View>,
        /// False when it, or the membership, was there already.
        new: bool,
    },
    /// To `Message`.
    Sent(First),
    /// To `Edit` and `Delete`: the event that did it, now or before.
    At(Position),
    /// To `Leave` and both ways to close.
    Done,
    /// To `Read`.
    Read {
        /// Messages left to read.
        unread: u64,
        /// Where the cursor moved to, if it moved.
        moved_to: Option<u64>,
    },
}

/// Why a wish did not come true; its neighbours are not touched by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no such room, or the actor may not know of it.
    RoomNotFound,
    /// It can be read, not written.
    RoomClosed,
    /// It has as many members as it may.
    RoomFull,
    /// The key was used before with other content.
    KeyReused,
    /// The external id stands for a room of other kind or members.
    ExternalIdReused,
    /// There is no such message in the room.
    MessageNotFound,
    /// It was deleted.
    MessageDeleted,
    /// The actor may see it, not change it.
    NotAllowed,
    /// The seq is beyond the head.
    BeyondHead,
    /// A text holds NUL, which no database keeps faithfully.
    Nul,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoomNotFound => "there is no such room",
            Self::RoomClosed => "the room is closed",
            Self::RoomFull => "the room is full",
            Self::KeyReused => "the key was used before with other content",
            Self::ExternalIdReused => "the external id stands for another room",
            Self::MessageNotFound => "there is no such message in the room",
            Self::MessageDeleted => "the message was deleted",
            Self::NotAllowed => "the caller may not change this",
            Self::BeyondHead => "seq is beyond the room's last event",
            Self::Nul => "body holds a NUL character",
        })
    }
}

impl Error for Refusal {}
