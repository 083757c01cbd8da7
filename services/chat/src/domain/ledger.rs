//! The facts that one batch needs, and what the batch makes of them.
//!
//! A store reads the rooms, then what the wishes name in them (memberships,
//! used keys, targets), has each wish judged in order by [`Ledger::apply`],
//! and writes the changes of each [`Account`] in one transaction. Wishes see
//! what those before them in the batch did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Change, Event, First, Hash, Membership, Position, Room, View};

/// A message that an edit or delete may aim at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it stands, and its id.
    pub position: Position,
    /// Who said it.
    pub sender: String,
    /// How it reads now.
    pub body: String,
    /// Milliseconds since 1970, if it was edited.
    pub edited_at: Option<i64>,
    /// Its content is gone.
    pub deleted: bool,
    /// Its last edit or delete; its own place when there is none.
    pub last: Position,
}

/// A new row of a log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it tells.
    pub event: Event,
    /// Messages up to and including it.
    pub message_no: u64,
    /// Of a message: what its key stands for.
    pub hash: Option<Hash>,
    /// Of the request.
    pub trace_id: String,
}

/// One room in the ledger: facts and changes.
#[derive(Clone, Debug)]
pub struct Account {
    /// The room as it is after the wishes so far.
    pub room: Room,
    pub(super) members: HashMap<String, Membership>,
    pub(super) keys: HashMap<(String, String), First>,
    pub(super) targets: HashMap<String, Target>,
    pub(super) counts: HashMap<u64, u64>,
    pub(super) entries: Vec<Entry>,
    changed_members: BTreeSet<String>,
    changed_targets: BTreeSet<String>,
}

/// The rooms of one batch.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) external: HashMap<String, String>,
    pub(super) max_members: u32,
}

impl Ledger {
    /// A ledger without rooms; none of them may have more members.
    pub fn new(max_members: u32) -> Self {
        Self { accounts: BTreeMap::new(), external: HashMap::new(), max_members }
    }

    /// Adds a room as it is stored.
    pub fn open(&mut self, room: Room) {
        if let Some(external_id) = &room.external_id {
            self.external.insert(external_id.clone(), room.room_id.clone());
        }
        self.accounts.insert(room.room_id.clone(), Account::new(room));
    }

    /// The room, to add what is stored about it.
    pub fn account(&mut self, room_id: &str) -> Option<&mut Account> {
        self.accounts.get_mut(room_id)
    }

    /// Every room, in the order of ids.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }
}

impl Account {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            members: HashMap::new(),
            keys: HashMap::new(),
            targets: HashMap::new(),
            counts: HashMap::new(),
            entries: Vec::new(),
            changed_members: BTreeSet::new(),
            changed_targets: BTreeSet::new(),
        }
    }

    /// Adds a membership as it is stored.
    pub fn add_member(&mut self, membership: Membership) {
        self.members.insert(membership.user_id.clone(), membership);
    }

    /// Adds a used key as it is stored.
    pub fn add_key(&mut self, sender: String, client_msg_id: String, first: First) {
        self.keys.insert((sender, client_msg_id), first);
    }

    /// Adds a message as it is stored.
    pub fn add_target(&mut self, target: Target) {
        self.targets.insert(target.position.id.clone(), target);
    }

    /// Adds how many messages the stored log has up to and including `seq`.
    pub fn add_count(&mut self, seq: u64, message_no: u64) {
        self.counts.insert(seq, message_no);
    }

    /// The new rows, in order of seq.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The memberships to store.
    pub fn changed_members(&self) -> impl Iterator<Item = &Membership> {
        self.changed_members.iter().filter_map(|user| self.members.get(user))
    }

    /// The messages to store anew.
    pub fn changed_targets(&self) -> impl Iterator<Item = &Target> {
        self.changed_targets.iter().filter_map(|id| self.targets.get(id))
    }

    /// True when the room's own row is to be stored.
    pub fn is_changed(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The room as `user` sees it.
    pub(super) fn view(&self, user: &str) -> View {
        View { room: self.room.clone(), membership: self.members.get(user).cloned() }
    }

    /// Changes a membership that is there.
    pub(super) fn change_member(&mut self, user: &str, change: impl FnOnce(&mut Membership)) {
        if let Some(membership) = self.members.get_mut(user) {
            change(membership);
            self.changed_members.insert(user.to_owned());
        }
    }

    /// Makes or renews a membership.
    pub(super) fn put_member(&mut self, membership: Membership) {
        self.changed_members.insert(membership.user_id.clone());
        self.add_member(membership);
    }

    /// Changes a message that is there.
    pub(super) fn change_target(&mut self, id: &str, change: impl FnOnce(&mut Target)) {
        if let Some(target) = self.targets.get_mut(id) {
            change(target);
            self.room.rewritten_seq = self.room.head.seq;
            self.changed_targets.insert(id.to_owned());
        }
    }

    /// Appends to the log: the one place that gives out a seq.
    pub(super) fn append(
        &mut self,
        stamp: &mut Stamp<'_>,
        change: Change,
        hash: Option<Hash>,
    ) -> Event {
        let room = &mut self.room;
        let event = Event {
            room_id: room.room_id.clone(),
            seq: room.head.seq + 1,
            id: (stamp.mint)(),
            at: stamp.now,
            change,
        };
        room.head = Position { seq: event.seq, id: event.id.clone() };
        room.last_active_at = room.last_active_at.max(stamp.now);
        room.message_no += u64::from(hash.is_some());
        self.entries.push(Entry {
            event: event.clone(),
            message_no: room.message_no,
            hash,
            trace_id: stamp.trace_id.to_owned(),
        });
        event
    }
}

/// What every event of one wish carries.
pub(super) struct Stamp<'a> {
    pub(super) now: i64,
    pub(super) trace_id: &'a str,
    pub(super) mint: &'a mut dyn FnMut() -> String,
}
