//! Whether a position can be proved.

use super::{Position, Room};

/// Why a position cannot be proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// The room has no such seq yet.
    BeyondHead,
    /// Another event stands at the seq.
    IdMismatch,
    /// What followed it is no longer kept.
    Expired,
}

impl Unproved {
    /// As it travels.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeyondHead => "beyond_head",
            Self::IdMismatch => "id_mismatch",
            Self::Expired => "expired",
        }
    }
}

/// Proves that everything after `after` is still in the log of `room`.
/// `stored` is the id of the event at `after.seq`, if the log still holds it;
/// the head and the event that the log begins after are known to the room.
pub fn prove(after: &Position, room: &Room, stored: Option<&str>) -> Result<(), Unproved> {
    let known = match after.seq {
        seq if seq > room.head.seq => return Err(Unproved::BeyondHead),
        seq if seq < room.base.seq => return Err(Unproved::Expired),
        seq if seq == room.head.seq => Some(room.head.id.as_str()),
        seq if seq == room.base.seq => Some(room.base.id.as_str()),
        _ => stored,
    };
    match known {
        Some(id) if id == after.id => Ok(()),
        Some(_) => Err(Unproved::IdMismatch),
        None => Err(Unproved::Expired),
    }
}
