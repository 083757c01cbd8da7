//! What changes, told to every process: by the bus, on one topic, in its order.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use mingle_proto::cache::v1::{self, watch_response::Event};
use mingle_store::bus::Announcement;
use prost::Message as _;

use crate::{
    domain::{Key, Mark, Namespaces, WHOLE},
    store::Changes,
};

/// Where changes and numbers are said.
pub(super) const TOPIC: &str = "cache";
/// Keys in one announcement.
const MAX_KEYS: usize = 1_000;
const NUMBER: u8 = b'n';
const CHANGED: u8 = b'c';
const FILLED: u8 = b'f';

/// What was said, and by which process.
pub(super) enum News {
    /// A number.
    Number(u128, u64),
    /// Values were set, deleted or voided.
    Changed(u128, v1::WatchResponse),
    /// Values were loaded: who waits for them finds them.
    Filled(u128, v1::WatchResponse),
}

/// A number to be said by a process.
pub(super) fn number(id: u128, number: u64) -> Announcement {
    said(NUMBER, id, &number.to_be_bytes())
}

/// What changed, to be said.
pub(super) fn changed(changes: &Changes, at: &Told) -> Vec<Announcement> {
    let keys = of_keys(&changes.keys, at);
    let voided = changes.marks.iter().map(|mark| {
        let event = match &*mark.tag {
            WHOLE => Event::Cleared(v1::Cleared {}),
            tag => Event::InvalidatedTag(tag.to_owned()),
        };
        at.response(&mark.namespace.name, event)
    });
    keys.chain(voided).map(|response| said(CHANGED, at.id, &response.encode_to_vec())).collect()
}

/// What was loaded, to be said.
pub(super) fn filled(key: &Key, at: &Told) -> Vec<Announcement> {
    let responses = of_keys(std::slice::from_ref(key), at);
    responses.map(|response| said(FILLED, at.id, &response.encode_to_vec())).collect()
}

/// When it is told, by which process and which request.
pub(super) struct Told {
    pub(super) id: u128,
    pub(super) traceparent: String,
    pub(super) now_ms: i64,
}

impl Told {
    fn response(&self, namespace: &Arc<str>, event: Event) -> v1::WatchResponse {
        v1::WatchResponse {
            namespace: namespace.to_string(),
            event: Some(event),
            traceparent: self.traceparent.clone(),
            published_at: Some(mingle_proto::Timestamp::from_millis(self.now_ms)),
        }
    }
}

fn of_keys<'a>(keys: &'a [Key], at: &'a Told) -> impl Iterator<Item = v1::WatchResponse> + 'a {
    let alike = keys.chunk_by(|one, other| one.namespace.name == other.namespace.name);
    alike.flat_map(|alike| alike.chunks(MAX_KEYS)).map(|keys| {
        let names = keys.iter().map(|key| key.name.to_string()).collect();
        let event = Event::Changed(v1::Keys { keys: names });
        at.response(&keys[0].namespace.name, event)
    })
}

fn said(kind: u8, id: u128, what: &[u8]) -> Announcement {
    let mut payload = BytesMut::with_capacity(17 + what.len());
    payload.put_u8(kind);
    payload.put_u128(id);
    payload.put_slice(what);
    Announcement::new(TOPIC, payload.freeze())
}

/// What another process, or this one, said; `None` of what cannot be read.
pub(super) fn read(mut payload: Bytes) -> Option<News> {
    let (kind, id) = (payload.try_get_u8().ok()?, payload.try_get_u128().ok()?);
    let response = |payload| v1::WatchResponse::decode(payload).ok();
    match kind {
        NUMBER => Some(News::Number(id, payload.try_get_u64().ok()?)),
        CHANGED => response(payload).map(|response| News::Changed(id, response)),
        FILLED => response(payload).map(|response| News::Filled(id, response)),
        _ => None,
    }
}

/// What is meant by it, of the namespaces that are known here.
pub(super) fn meant(response: &v1::WatchResponse, of: &Namespaces) -> Changes {
    let Some(namespace) = of.get(&response.namespace) else { return Changes::default() };
    let mark = |tag: &str| Mark { namespace: namespace.clone(), tag: tag.into() };
    let key = |name: &String| Key { namespace: namespace.clone(), name: name.as_str().into() };
    let (keys, marks) = match &response.event {
        Some(Event::Changed(changed)) => (changed.keys.iter().map(key).collect(), vec![]),
        Some(Event::InvalidatedTag(tag)) => (vec![], vec![mark(tag)]),
        Some(Event::Cleared(_)) => (vec![], vec![mark(WHOLE)]),
        _ => (vec![], vec![]),
    };
    Changes { keys, marks }
}
