//! A room, its members, and who may do what with it.

/// What a room is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Two users, from a match.
    Pair,
    /// A fixed set of users.
    Direct,
    /// Anyone may join.
    Channel,
}

/// A place in a room's log; `(0, "")` is before the first event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Counts from 1, without a hole.
    pub seq: u64,
    /// The id of the event at `seq`: what proves the position.
    pub id: String,
}

/// A room as its log has made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// UUIDv7.
    pub room_id: String,
    /// What it is for.
    pub kind: Kind,
    /// Shown to users.
    pub name: String,
    /// Who made it; empty for a pair.
    pub creator: String,
    /// The key that made its creation idempotent.
    pub external_id: Option<String>,
    /// What `external_id` stands for: a hash of kind and first members.
    pub origin: [u8; 32],
    /// It can be read, not written.
    pub closed: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// When its last event was, in milliseconds since 1970; never goes back.
    pub last_active_at: i64,
    /// Its last event.
    pub head: Position,
    /// What its log still holds comes after this event.
    pub base: Position,
    /// Messages said in it so far.
    pub message_no: u64,
    /// Members now.
    pub member_count: u32,
    /// The last event that changed what was said before it; 0 for none.
    pub rewritten_seq: u64,
}

/// How far a member has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last seq read.
    pub seq: u64,
    /// Messages up to `seq`: unread is what the room has beyond.
    pub message_no: u64,
}

/// A user's place in a room, now or once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Whose.
    pub user_id: String,
    /// Milliseconds since 1970.
    pub joined_at: i64,
    /// The seq of the event that told it: the order of joining.
    pub joined_seq: u64,
    /// Milliseconds since 1970; `None` for a member.
    pub left_at: Option<i64>,
    /// The seq of the event that told it; `None` for a member, and for who left
    /// before it was kept.
    pub left_seq: Option<u64>,
    /// How far they have read.
    pub read: Cursor,
}

/// A room as one user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The room.
    pub room: Room,
    /// The user's place in it, if they ever had one.
    pub membership: Option<Membership>,
}

impl View {
    /// They are a member now.
    pub fn is_member(&self) -> bool {
        self.membership.as_ref().is_some_and(|m| m.left_at.is_none())
    }

    /// They may know of the room: they are or were a member, or all may.
    pub fn may_see(&self) -> bool {
        self.membership.is_some() || self.room.kind == Kind::Channel
    }

    /// They may read its log and its members. Who left a pair keeps what was
    /// said there; who left another room has given it up.
    pub fn may_read(&self) -> bool {
        self.is_member() || (self.membership.is_some() && self.room.kind == Kind::Pair)
    }

    /// The seq of their leave when they left and lack what was said before it:
    /// they go on from an event that they had, to that of their leave.
    pub fn lacks_up_to(&self, after: u64) -> Option<u64> {
        let left = self.membership.as_ref()?.left_seq?;
        (after > 0 && after < left).then_some(left)
    }

    /// Messages that they have not read; 0 for those who are no members.
    pub fn unread(&self) -> u64 {
        match &self.membership {
            Some(m) if m.left_at.is_none() => {
                self.room.message_no.saturating_sub(m.read.message_no)
            }
            _ => 0,
        }
    }
}

/// Where a list of rooms goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// `last_active_at` of the last room seen.
    pub last_active_at: i64,
    /// Its id.
    pub room_id: String,
}
