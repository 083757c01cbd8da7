//! One user's value.
//!
//! Version, what was announced, the last proof of life of sessions that were
//! dropped, then the sessions until the end. One session with UUIDs is 46
//! bytes: below the 64 up to which Redis keeps a hash as a listpack.

use std::collections::BTreeMap;

use mingle_store::Result;

use super::{
    codec::{Reader, Writer, corrupt, uuid},
    registry::{Start, Table},
};
use crate::domain::{Claim, Held, Holder as _, Lost, Status, Terms, User};

/// A user whose sessions know their starts.
pub(super) type Person = User<Start>;

/// In the head, beside the status announced.
const SEEN: u8 = 0x80;
/// In the head of a session, beside its status.
const CLOSED: u8 = 0x80;
const SESSION_PACKED: u8 = 0x40;
const CONNECTION_PACKED: u8 = 0x20;

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    session_id: String,
    connection_id: String,
    generation: u64,
    start: u32,
    connected_at: i64,
    closed_at: Option<i64>,
    status: Status,
}

/// A user as stored: the starts are but named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    told: Option<Status>,
    seen_at: Option<i64>,
    sessions: Vec<Session>,
}

fn code(status: Option<Status>) -> u8 {
    match status {
        None => 0,
        Some(Status::Away) => 1,
        Some(Status::Busy) => 2,
        Some(Status::Online) => 3,
    }
}

fn status(code: u8) -> Result<Option<Status>> {
    Ok(match code {
        0 => None,
        1 => Some(Status::Away),
        2 => Some(Status::Busy),
        3 => Some(Status::Online),
        _ => return Err(corrupt()),
    })
}

impl Value {
    /// Reads what was stored; nothing is a user without sessions.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let mut value = Self::default();
        if bytes.is_empty() {
            return Ok(value);
        }
        let mut reader = Reader::new(bytes)?;
        let head = reader.byte()?;
        value.told = status(head & !SEEN)?;
        if head & SEEN != 0 {
            value.seen_at = Some(reader.time()?);
        }
        while !reader.is_empty() {
            value.sessions.push(Session::read(&mut reader)?);
        }
        Ok(value)
    }

    /// What `user` is stored as; nothing for one who need not be kept.
    pub(super) fn of(user: &Person) -> Self {
        if user.is_empty() {
            return Self::default();
        }
        let sessions = user.sessions.iter().map(|held| Session {
            session_id: held.session_id().to_owned(),
            connection_id: held.connection_id().to_owned(),
            generation: held.generation,
            start: held.holder.id(),
            connected_at: held.connected_at,
            closed_at: held.closed_at(),
            status: held.status,
        });
        Self { told: user.told, seen_at: user.seen_at, sessions: sessions.collect() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let mut writer = Writer::new();
        let seen = if self.seen_at.is_some() { SEEN } else { 0 };
        writer.byte(code(self.told) | seen);
        if let Some(at) = self.seen_at {
            writer.time(at);
        }
        self.sessions.iter().for_each(|session| session.write(&mut writer));
        writer.0
    }

    /// True when `table` knows enough for a decision of `now`: each start, and
    /// of those that seem gone that they were not renewed after it was read.
    pub(super) fn is_covered(&self, table: &Table, now: i64, terms: &Terms) -> bool {
        self.sessions.iter().all(|session| {
            table.start(session.start).is_some_and(|start| {
                let gone_at = start.lease().ends_at(terms).saturating_add(terms.grace_ms);
                now < gone_at || gone_at <= table.read_at()
            })
        })
    }

    /// True when a newer generation, or a later socket, holds the session.
    pub(super) fn supersedes(&self, lost: &Lost) -> bool {
        let newer = |it: &Session| {
            (it.generation, &it.connection_id) > (lost.generation, &lost.connection_id)
        };
        self.sessions.iter().any(|it| it.session_id == lost.session_id && newer(it))
    }

    /// The user, whose sessions are gone where `table` has not their start.
    pub(super) fn person(self, table: &Table) -> Person {
        let mut user = Person::new();
        (user.told, user.seen_at) = (self.told, self.seen_at);
        user.sessions = self.sessions.into_iter().map(|session| session.held(table)).collect();
        user
    }

    /// What becoming `next` adds to the counters of the partition.
    pub(super) fn counts_to(&self, next: &Self) -> Vec<(String, i64)> {
        let mut counts = BTreeMap::new();
        for (value, sign) in [(self, -1), (next, 1)] {
            *counts.entry(USERS.to_owned()).or_insert(0) += sign * i64::from(value.told.is_some());
            *counts.entry(SESSIONS.to_owned()).or_insert(0) += sign * value.len();
            for session in value.sessions.iter().filter(|session| session.closed_at.is_none()) {
                *counts.entry(open_of(session.start)).or_insert(0) += sign;
            }
        }
        counts.into_iter().filter(|(_, add)| *add != 0).collect()
    }

    /// Sessions.
    pub(super) fn len(&self) -> i64 {
        i64::try_from(self.sessions.len()).unwrap_or(i64::MAX)
    }
}

/// The counter of users announced as not offline.
pub(super) const USERS: &str = "users";
/// The counter of sessions stored.
pub(super) const SESSIONS: &str = "sessions";

/// The counter of a start's sessions whose socket is open.
pub(super) fn open_of(start: u32) -> String {
    format!("{start:08x}")
}

impl Session {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let head = reader.byte()?;
        let shown = head & !(CLOSED | SESSION_PACKED | CONNECTION_PACKED);
        Ok(Self {
            status: status(shown)?.ok_or_else(corrupt)?,
            session_id: reader.id(head & SESSION_PACKED != 0)?,
            connection_id: reader.id(head & CONNECTION_PACKED != 0)?,
            generation: reader.number()?,
            start: reader.fixed()?,
            connected_at: reader.time()?,
            closed_at: if head & CLOSED != 0 { Some(reader.time()?) } else { None },
        })
    }

    fn write(&self, writer: &mut Writer) {
        let (session, connection) = (uuid(&self.session_id), uuid(&self.connection_id));
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        writer.byte(
            code(Some(self.status))
                | flag(self.closed_at.is_some(), CLOSED)
                | flag(session.is_some(), SESSION_PACKED)
                | flag(connection.is_some(), CONNECTION_PACKED),
        );
        writer.id(&self.session_id, session);
        writer.id(&self.connection_id, connection);
        writer.number(self.generation);
        writer.fixed(self.start);
        writer.time(self.connected_at);
        if let Some(at) = self.closed_at {
            writer.time(at);
        }
    }

    fn held(self, table: &Table) -> Held<Start> {
        let holder = table.start(self.start).unwrap_or_else(|| Start::forgotten(self.start));
        let claim = Claim {
            user_id: String::new(),
            session_id: self.session_id,
            generation: self.generation,
            connection_id: self.connection_id,
            status: Some(self.status),
        };
        let mut held = Held::new(claim, holder, self.connected_at);
        if let Some(at) = self.closed_at {
            held.close(at);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::{Session, Value};
    use crate::{
        domain::Status,
        store::redis::codec::{pack, unpack},
    };

    fn id() -> impl Strategy<Value = String> {
        let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        // Almost a UUID, too: upper case, a character short, a hyphen elsewhere.
        prop_oneof![uuid, "[0-9A-F]{8}-[0-9a-f]{27}", "[^\\x00-\\x1f]{1,128}", "[0-9a-f-]{36}"]
    }

    fn status() -> impl Strategy<Value = Status> {
        prop_oneof![Just(Status::Away), Just(Status::Busy), Just(Status::Online)]
    }

    fn session() -> impl Strategy<Value = Session> {
        let times = (any::<i64>(), option::of(any::<i64>()));
        (id(), id(), any::<u64>(), any::<u32>(), times, status()).prop_map(
            |(session_id, connection_id, generation, start, (connected_at, closed_at), status)| {
                Session {
                    session_id,
                    connection_id,
                    generation,
                    start,
                    connected_at,
                    closed_at,
                    status,
                }
            },
        )
    }

    fn value() -> impl Strategy<Value = Value> {
        let parts = (option::of(status()), option::of(any::<i64>()), vec(session(), 0..6));
        parts.prop_map(|(told, seen_at, sessions)| Value { told, seen_at, sessions })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(value in value()) {
            prop_assert_eq!(Value::read(&value.bytes()).unwrap(), value);
        }

        #[test]
        fn what_was_not_written_is_an_error_or_a_value(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(value) = Value::read(&bytes) {
                prop_assert_eq!(Value::read(&value.bytes()).unwrap(), value);
            }
        }

        #[test]
        fn what_was_cut_off_or_lengthened_is_never_the_same(value in value(), cut in 0..400_usize) {
            let bytes = value.bytes();
            let short = &bytes[..cut.min(bytes.len().saturating_sub(1))];
            prop_assert!(bytes.is_empty() || Value::read(short).map_or(true, |read| read != value));
            let long = [&bytes[..], &[0]].concat();
            prop_assert!(Value::read(&long).is_err());
        }

        #[test]
        fn users_are_unpacked_as_they_were(user in id()) {
            prop_assert_eq!(unpack(&pack(&user)).unwrap(), user);
        }
    }

    #[test]
    fn one_session_with_uuids_stays_below_what_a_listpack_takes() {
        let id = "0190b0c1-8a2e-7000-8000-0123456789ab".to_owned();
        let mut value = Value { told: Some(Status::Online), ..Value::default() };
        value.sessions.push(Session {
            session_id: id.clone(),
            connection_id: id.clone(),
            generation: 3,
            start: u32::MAX,
            connected_at: 1_700_000_000_000,
            closed_at: None,
            status: Status::Online,
        });
        assert_eq!((value.bytes().len(), pack(&id).len()), (46, 17));
        value.sessions[0].closed_at = Some(1_700_000_000_000);
        assert_eq!(value.bytes().len(), 52);
    }
}
