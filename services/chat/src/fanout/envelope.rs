//! What travels on the bus.

use bytes::Bytes;
use mingle_proto::chat::v1::{SubscribeResponse, subscribe_response::Event};
use prost::Message as _;

/// The topic of a room.
pub(super) fn topic(room_id: &str) -> String {
    format!("chat:room:{room_id}")
}

/// What is announced, with who announced it: the announcer's own followers
/// have it already.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(fixed64, tag = "1")]
    origin: u64,
    #[prost(bytes = "bytes", tag = "2")]
    response: Bytes,
}

/// As bytes, announced by `origin`.
pub(super) fn encode(origin: u64, response: &SubscribeResponse) -> Bytes {
    let response = response.encode_to_vec().into();
    Envelope { origin, response }.encode_to_vec().into()
}

/// What came over the bus.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// From this process: known.
    Own,
    /// From another.
    Foreign(SubscribeResponse),
    /// Not an announcement: whatever it was, it must be read anew.
    Unreadable,
}

/// Reads `bytes`; one's own are not read further.
pub(super) fn decode(origin: u64, bytes: Bytes) -> Incoming {
    let Ok(envelope) = Envelope::decode(bytes) else { return Incoming::Unreadable };
    if envelope.origin == origin {
        return Incoming::Own;
    }
    match SubscribeResponse::decode(envelope.response) {
        Ok(
            response @ SubscribeResponse {
                event: Some(Event::Events(_) | Event::Signal(_)), ..
            },
        ) => Incoming::Foreign(response),
        _ => Incoming::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use mingle_proto::chat::v1::{Events, SubscribeResponse, subscribe_response::Event};

    use super::{Incoming, decode, encode};

    #[test]
    fn announcements_read_back_and_own_ones_are_known() {
        let event = Some(Event::Events(Events::default()));
        let response = SubscribeResponse { room_id: "r".into(), event, ..Default::default() };
        let bytes = encode(7, &response);
        assert_eq!(decode(7, bytes.clone()), Incoming::Own);
        assert_eq!(decode(8, bytes), Incoming::Foreign(response));
        assert_eq!(decode(8, "noise".into()), Incoming::Unreadable);
        assert_eq!(decode(8, encode(7, &SubscribeResponse::default())), Incoming::Unreadable);
    }
}
