//! AsyncAPI 3.0 of the WebSocket protocol, seen from the gateway: it receives
//! requests, replies to them, and sends events.

use mingle_client::close::{Close, Retry};
use serde_json::{Map, Value, json};

use super::protocol::{Kind, Protocol, schema_of};

const ABOUT: &str = "One message per WebSocket message, as canonical proto3 JSON (64-bit numbers \
    are strings) in the subprotocol mingle.v1.json, which is the default, or in binary in \
    mingle.v1.proto. The first message is hello, within 10 s. A reply repeats the id of its \
    request and precedes the events that it causes; events have no id. Clients ignore fields and \
    events that they do not know.";

/// What answers each request, beside `error`.
const REPLIES: &[(&str, &str)] = &[
    ("hello", "welcome"),
    ("matchJoin", "ticket"),
    ("matchLeave", "ticket"),
    ("roomJoin", "room"),
    ("roomLeave", "ok"),
    ("send", "sent"),
    ("edit", "ok"),
    ("delete", "ok"),
    ("history", "messages"),
    ("read", "ok"),
    ("typing", "ok"),
    ("presenceWatch", "presences"),
    ("presenceSet", "ok"),
    ("ping", "pong"),
];
/// Events are the kinds of a server's frame from this number on.
const FIRST_EVENT: i32 = 20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Request,
    Reply,
    Event,
}

impl Use {
    fn of(self, kind: &Kind) -> String {
        let folder = match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Event => "event",
        };
        format!("{folder}.{}", kind.name)
    }
}

/// The document.
pub(super) fn document(protocol: &Protocol) -> Value {
    let requests = protocol.kinds("ClientFrame");
    let (events, replies): (Vec<_>, Vec<_>) =
        protocol.kinds("ServerFrame").into_iter().partition(|kind| kind.number >= FIRST_EVENT);
    let uses = [(Use::Request, &requests), (Use::Reply, &replies), (Use::Event, &events)];
    let (mut messages, mut channel) = (Map::new(), Map::new());
    for (purpose, kinds) in uses {
        for kind in kinds {
            let name = purpose.of(kind);
            channel.insert(name.clone(), json!({"$ref": format!("#/components/messages/{name}")}));
            messages.insert(name, message(protocol, purpose, kind));
        }
    }
    let names = |kinds: &'_ [Kind]| kinds.iter().map(|it| it.message.clone()).collect::<Vec<_>>();
    let (taken, given) = (names(&requests), [names(&replies), names(&events)].concat());
    let schemas = protocol.schemas(&texts(&taken), &texts(&given));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Mingle over WebSocket",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": {
            "host": "127.0.0.1:8080",
            "protocol": "ws",
            "description": "A gateway; wss where a proxy before it ends TLS.",
        }},
        "channels": {"socket": {
            "address": "/ws",
            "messages": channel,
            "bindings": {"ws": {"method": "GET", "headers": headers(), "bindingVersion": "0.1.0"}},
            "x-close-codes": close_codes(),
        }},
        "operations": operations(&requests, &events),
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn message(protocol: &Protocol, purpose: Use, kind: &Kind) -> Value {
    let id = match purpose {
        Use::Request => "Repeated by the reply. Any number, best counted from 1.",
        _ => "Of the request; 0 where that could not be read.",
    };
    let mut properties = json!({&kind.name: schema_of(&kind.message)});
    let mut required = vec![kind.name.as_str()];
    if purpose != Use::Event {
        let bounds = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
        properties["id"] = bounds;
        properties["id"]["description"] = json!(id);
        required.push("id");
    }
    let mut payload = json!({"type": "object", "properties": properties, "required": required});
    if purpose == Use::Request {
        payload["additionalProperties"] = json!(false);
    }
    let mut message = json!({"name": kind.name, "payload": payload});
    if purpose != Use::Event {
        message["correlationId"] = json!({"location": "$message.payload#/id"});
    }
    let comment = protocol.comment(&kind.message);
    if !comment.is_empty() {
        message["summary"] = json!(comment);
    }
    message
}

fn operations(requests: &[Kind], events: &[Kind]) -> Value {
    let channel = json!({"$ref": "#/channels/socket"});
    let refer = |name: &str| json!({"$ref": format!("#/channels/socket/messages/{name}")});
    let mut operations = Map::new();
    for kind in requests {
        let reply = REPLIES.iter().find(|(request, _)| *request == kind.name);
        let (_, reply) = reply.unwrap_or_else(|| panic!("what is the reply to {}?", kind.name));
        let answers = [refer(&format!("reply.{reply}")), refer("reply.error")];
        let described = json!({
            "action": "receive",
            "channel": channel,
            "messages": [refer(&Use::Request.of(kind))],
            "reply": {"channel": channel, "messages": answers},
        });
        operations.insert(kind.name.clone(), described);
    }
    let told: Vec<_> = events.iter().map(|kind| refer(&Use::Event.of(kind))).collect();
    let events = json!({
        "action": "send",
        "channel": channel,
        "summary": "What happens, in the order of each room's log.",
        "messages": told,
    });
    operations.insert("events".to_owned(), events);
    Value::Object(operations)
}

fn headers() -> Value {
    let protocols = json!(["mingle.v1.json", "mingle.v1.proto"]);
    let offered = json!({"type": "string", "enum": protocols});
    json!({"type": "object", "properties": {"Sec-WebSocket-Protocol": offered}})
}

/// Why the gateway closes a socket, and what a client does then by itself.
fn close_codes() -> Value {
    let then = |close: Close| match close.retry() {
        Retry::Never => "nothing: a person decides",
        Retry::WithNewToken => "fetch a new token, connect and resume",
        Retry::WithResume => "connect and resume, with back-off",
        Retry::AfterDelay => "connect and resume after the delay that was told",
    };
    let row =
        |close: Close| json!({"code": close.code(), "reason": close.reason(), "then": then(close)});
    Close::ALL.map(row).to_vec().into()
}
