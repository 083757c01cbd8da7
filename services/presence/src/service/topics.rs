//! What presence announces over the bus, and where.
//!
//! An announcement says *who* changed, not how: the state is read when it is
//! told. So announcements may be late, doubled or out of order without harm.

use bytes::Bytes;
use mingle_proto::presence::v1;
use prost::Message as _;

use crate::domain::partition;

/// The form of the payloads below.
const VERSION: u8 = 1;
/// Users in one announcement.
const MAX_USERS: usize = 256;

pub(super) fn of_partition(partition: u16) -> String {
    format!("presence:user:{partition}")
}

pub(super) fn of_node(node_id: &str) -> String {
    format!("presence:node:{node_id}")
}

/// Announcements of `changed` users, by topic.
pub(super) fn announcements(mut changed: Vec<String>) -> Vec<(String, Bytes)> {
    changed.sort_by_cached_key(|user_id| partition(user_id));
    let mut announcements = Vec::new();
    for users in changed.chunk_by(|a, b| partition(a) == partition(b)) {
        for users in users.chunks(MAX_USERS) {
            let mut payload = vec![VERSION];
            // Ids hold no control characters, so a line break separates them.
            payload.extend_from_slice(users.join("\n").as_bytes());
            announcements.push((of_partition(partition(&users[0])), payload.into()));
        }
    }
    announcements
}

/// The users of an announcement; `None` when it is of another version.
pub(super) fn users(payload: &Bytes) -> Option<impl Iterator<Item = &str>> {
    let users = payload.strip_prefix(&[VERSION])?;
    Some(std::str::from_utf8(users).ok()?.split('\n'))
}

pub(super) fn superseded(lost: &v1::Superseded) -> Bytes {
    let mut payload = vec![VERSION];
    payload.extend_from_slice(&lost.encode_to_vec());
    payload.into()
}

/// The superseded socket of an announcement; `None` when it is of another
/// version.
pub(super) fn superseded_of(payload: &Bytes) -> Option<v1::Superseded> {
    v1::Superseded::decode(payload.strip_prefix(&[VERSION])?).ok()
}

#[cfg(test)]
mod tests {
    use super::{announcements, of_partition, users};
    use crate::domain::partition;

    #[test]
    fn every_user_is_announced_once_in_its_partition() {
        let all: Vec<String> = (0..5000).map(|at| format!("user {at}")).collect();
        let mut told = Vec::new();
        let mut topics = std::collections::BTreeSet::new();
        for (topic, payload) in announcements(all.clone()) {
            for user in users(&payload).expect("this version") {
                assert_eq!(topic, of_partition(partition(user)));
                told.push(user.to_owned());
            }
            topics.insert(topic);
        }
        told.sort_unstable();
        let mut expected = all;
        expected.sort_unstable();
        assert_eq!(told, expected);
        assert!(topics.len() > 200, "partitions are used: {}", topics.len());
        assert!(announcements(Vec::new()).is_empty());
    }
}
