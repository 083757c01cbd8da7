//! The two encodings of the protocol: the same messages, one per WebSocket
//! message.

use mingle_proto::gateway::v1::{ClientFrame, ServerFrame};
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;

use super::{Error, Result};

/// How frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Canonical proto3 JSON in text messages. Read strictly: a field that this
    /// build does not know is an error, which is what tests want. To speak with
    /// newer servers use [`Encoding::Proto`], which skips it.
    Json,
    /// Protobuf in binary messages.
    Proto,
}

impl Encoding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Proto];

    /// The name of the subprotocol.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "mingle.v1.json",
            Self::Proto => "mingle.v1.proto",
        }
    }

    pub(super) fn encode(self, frame: &ClientFrame) -> Result<Message> {
        match self {
            Self::Json => match serde_json::to_string(frame) {
                Ok(text) => Ok(Message::text(text)),
                Err(error) => Err(Error::Malformed(error.to_string())),
            },
            Self::Proto => Ok(Message::binary(frame.encode_to_vec())),
        }
    }

    /// The frame in a text or binary message.
    pub(super) fn decode(self, message: Message) -> Result<ServerFrame> {
        match (self, message) {
            (Self::Json, Message::Text(text)) => serde_json::from_str(&text)
                .map_err(|error| Error::Malformed(format!("{error} in {text}"))),
            (Self::Proto, Message::Binary(bytes)) => {
                ServerFrame::decode(bytes).map_err(|error| Error::Malformed(error.to_string()))
            }
            (_, message) => {
                let kind = if message.is_text() { "text" } else { "binary" };
                Err(Error::Malformed(format!("a {kind} message under {}", self.subprotocol())))
            }
        }
    }
}
