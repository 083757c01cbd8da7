//! What happened in a room.

use std::collections::BTreeMap;

/// What a row, its ids and its framing take beside its texts, generously.
const OVERHEAD_BYTES: usize = 256;

/// One entry of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The room.
    pub room_id: String,
    /// Its place in the log.
    pub seq: u64,
    /// UUIDv7.
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// What happened.
    pub change: Change,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something was said.
    Message(Message),
    /// A message reads anew.
    Edited {
        /// The message.
        message_id: String,
        /// Where it stands.
        message_seq: u64,
        /// Whose it is.
        editor: String,
        /// How it reads; empty when the message was deleted since.
        body: String,
    },
    /// A message is gone.
    Deleted {
        /// The message.
        message_id: String,
        /// Where it stands.
        message_seq: u64,
        /// Whose it was.
        deleter: String,
    },
    /// A user became a member.
    Joined {
        /// Who.
        user_id: String,
    },
    /// A user is no longer a member.
    Left {
        /// Who.
        user_id: String,
    },
    /// The room can be read, not written.
    Closed {
        /// Who closed it; empty when the system did.
        closer: String,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a room was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// One of the pair left.
    Left,
    /// Someone closed it.
    Closed,
    /// Nobody talked.
    Idle,
}

impl CloseReason {
    /// As it travels and is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Idle => "idle",
        }
    }

    /// Read back; `None` for what was never written.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Left, Self::Closed, Self::Idle].into_iter().find(|reason| reason.name() == name)
    }
}

/// A message as it reads now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub sender: String,
    /// The sender's key.
    pub client_msg_id: String,
    /// Empty when deleted.
    pub body: String,
    /// Empty when deleted.
    pub metadata: BTreeMap<String, String>,
    /// The trace of the Send.
    pub trace_id: String,
    /// Milliseconds since 1970, if it was edited.
    pub edited_at: Option<i64>,
    /// Its content is gone.
    pub deleted: bool,
}

impl Event {
    /// No less than its size on the wire, in bytes.
    pub fn size(&self) -> usize {
        let texts = match &self.change {
            Change::Message(message) => {
                let metadata = message.metadata.iter();
                let metadata: usize = metadata.map(|(k, v)| k.len() + v.len() + 16).sum();
                let ids = 4 * message.sender.len() + message.client_msg_id.len();
                ids + message.body.len() + metadata
            }
            Change::Edited { editor, body, .. } => editor.len() + body.len(),
            Change::Deleted { deleter, .. } => deleter.len(),
            Change::Joined { user_id } | Change::Left { user_id } => user_id.len(),
            Change::Closed { closer, .. } => closer.len(),
        };
        OVERHEAD_BYTES + texts
    }
}
