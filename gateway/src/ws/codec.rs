//! Frames as JSON or protobuf, and what is wrong with them by field.

use axum::extract::ws::Message;
use mingle_proto::{
    errors::v1::Reason,
    gateway::v1::{self as pb, client_frame::Kind},
};
use mingle_runtime::status::Kind as FaultKind;
use prost::Message as _;
use serde::de::DeserializeOwned;

use crate::{
    fault::Fault,
    outbox::{self, Encoding},
};

/// A frame that cannot be served, and the id to answer with; 0 where it
/// cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The frame's id.
    pub id: u32,
    /// What is wrong.
    pub fault: Fault,
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Request {
    /// The frame's id.
    pub id: u32,
    /// The trace that it is a part of; empty or malformed: none.
    pub traceparent: String,
    /// The request itself.
    pub kind: Kind,
}

/// Reads a frame of a client.
pub(crate) fn decode(
    encoding: Encoding,
    message: &Message,
    max_bytes: usize,
) -> Result<Request, Unreadable> {
    let nameless = |fault| Unreadable { id: 0, fault };
    let bytes = match (encoding, message) {
        (Encoding::Json, Message::Text(text)) => text.as_bytes(),
        (Encoding::Proto, Message::Binary(bytes)) => bytes.as_ref(),
        _ => return Err(nameless(malformed("the frame's type is not that of the subprotocol"))),
    };
    if bytes.len() > max_bytes {
        let message = format!("the frame has {} bytes, at most {max_bytes} are read", bytes.len());
        return Err(nameless(Fault::new(FaultKind::Invalid, Reason::FrameTooLarge, message)));
    }
    let frame: pb::ClientFrame = match encoding {
        Encoding::Json => json(bytes)
            .map_err(|fault| Unreadable { id: id_of(bytes), fault: inside_kind(fault) })?,
        Encoding::Proto => pb::ClientFrame::decode(bytes)
            .map_err(|error| nameless(malformed(&error.to_string())))?,
    };
    let pb::ClientFrame { id, kind, traceparent } = frame;
    let none = || Unreadable { id, fault: malformed("the frame names no request") };
    Ok(Request { id, traceparent, kind: kind.ok_or_else(none)? })
}

/// Writes a reply.
pub(crate) fn reply(encoding: Encoding, id: u32, kind: pb::server_frame::Kind) -> Message {
    let frame = pb::ServerFrame { id: Some(id), kind: Some(kind) };
    match encoding {
        Encoding::Json => Message::Text(outbox::json(&frame).into()),
        Encoding::Proto => Message::Binary(frame.encode_to_vec().into()),
    }
}

/// Reads canonical JSON; a fault names the field by its path.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let value = read.map_err(|error| {
        let path = error.path().to_string();
        explain(&path, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| malformed(&error.to_string()))?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    // What stands for no field at all, or for one that broke off.
    let parent = path.trim_matches(['.', '?']);
    // serde's wordings; they name the field in backquotes.
    if let Some(field) = quoted(&text, "unknown field ") {
        let field = join(parent, field);
        return Fault::invalid(Reason::UnknownField, field, text);
    }
    if let Some(field) = quoted(&text, "duplicate field ") {
        let field = join(parent, field);
        return Fault::invalid(Reason::MalformedFrame, field, text);
    }
    let reason = if error.is_data() { Reason::Malformed } else { Reason::MalformedFrame };
    Fault::invalid(reason, parent, text)
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_prefix('`')?.split('`').next()
}

/// serde's path may or may not end with the unknown field itself.
fn join(parent: &str, field: &str) -> String {
    if parent.is_empty() || parent == field || parent.ends_with(&format!(".{field}")) {
        return if parent.is_empty() { field.to_owned() } else { parent.to_owned() };
    }
    format!("{parent}.{field}")
}

/// Fields are named within their request: `body`, not `send.body`.
fn inside_kind(fault: Fault) -> Fault {
    match fault.field.split_once('.') {
        Some((_, field)) => {
            let field = field.to_owned();
            Fault { field, ..fault }
        }
        None => fault,
    }
}

fn malformed(message: &str) -> Fault {
    Fault::new(FaultKind::Invalid, Reason::MalformedFrame, message)
}

/// The id of a frame that is JSON but not one of ours.
fn id_of(bytes: &[u8]) -> u32 {
    #[derive(serde::Deserialize)]
    struct Id {
        id: u32,
    }
    serde_json::from_slice::<Id>(bytes).map_or(0, |frame| frame.id)
}

#[cfg(test)]
mod tests {
    use axum::extract::ws::Message;
    use mingle_proto::gateway::v1::{self as pb, client_frame::Kind};
    use prost::Message as _;

    use super::{Encoding, decode};

    fn read(text: &str) -> Result<(u32, Kind), (u32, String, String)> {
        let message = Message::Text(text.to_owned().into());
        decode(Encoding::Json, &message, 1000)
            .map(|request| (request.id, request.kind))
            .map_err(|bad| (bad.id, bad.fault.reason, bad.fault.field))
    }

    #[test]
    fn the_frames_of_the_documentation_are_read() {
        let join = r#"{"id":2,"matchJoin":{"pool":"random-chat",
            "attributes":{"gender":"female"},"wants":{"gender":["male","female"]}}}"#;
        let (id, kind) = read(join).unwrap();
        let Kind::MatchJoin(join) = kind else { panic!("another kind") };
        assert_eq!((id, join.wants["gender"].values.len()), (2, 2));
        let (_, kind) =
            read(r#"{"id":3,"read":{"roomId":"r","seq":"18446744073709551615"}}"#).unwrap();
        assert!(matches!(kind, Kind::Read(pb::Read { seq: u64::MAX, .. })));
        let frame = pb::ClientFrame {
            id: 7,
            kind: Some(Kind::Ping(pb::Ping {})),
            ..pb::ClientFrame::default()
        };
        let message = Message::Binary(frame.encode_to_vec().into());
        assert_eq!(decode(Encoding::Proto, &message, 1000).unwrap().id, 7);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!(r#"{{"id":9,"ping":{{}},"x":"{}"}}"#, "x".repeat(1000));
        let cases: &[(&str, u32, &str, &str)] = &[
            ("", 0, "MALFORMED_FRAME", ""),
            ("{\"id\":1", 0, "MALFORMED_FRAME", ""),
            ("[]", 0, "MALFORMED", ""),
            (r#"{"id":9}"#, 9, "MALFORMED_FRAME", ""),
            (r#"{"id":9,"fly":{}}"#, 9, "UNKNOWN_FIELD", "fly"),
            (r#"{"id":9,"send":{"bodi":"x"}}"#, 9, "UNKNOWN_FIELD", "bodi"),
            (r#"{"id":9,"send":{"body":5}}"#, 9, "MALFORMED", "body"),
            (r#"{"id":9,"ping":{},"send":{}}"#, 9, "MALFORMED_FRAME", "send"),
            (r#"{"id":9,"send":{"body":"\ud800"}}"#, 9, "MALFORMED_FRAME", "body"),
            (r#"{"id":9,"ping":{}} x"#, 0, "MALFORMED_FRAME", ""),
            (&long, 0, "FRAME_TOO_LARGE", ""),
        ];
        for (text, id, reason, field) in cases {
            let found = read(text).unwrap_err();
            let expected = (*id, (*reason).to_owned(), (*field).to_owned());
            if found.0 == 0 || *id == 0 {
                assert_eq!((&found.1, &found.2), (&expected.1, &expected.2), "{text}");
            } else {
                assert_eq!(found, expected, "{text}");
            }
        }
        let binary = Message::Binary(vec![0xff, 0xff].into());
        assert_eq!(decode(Encoding::Json, &binary, 9).unwrap_err().fault.reason, "MALFORMED_FRAME");
        assert_eq!(
            decode(Encoding::Proto, &binary, 9).unwrap_err().fault.reason,
            "MALFORMED_FRAME"
        );
    }
}
