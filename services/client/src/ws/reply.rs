//! The kinds of replies, as types.

use mingle_proto::gateway::v1::{self, server_frame::Kind};

/// A message that answers a request.
pub trait Reply: Sized {
    /// The message in `kind`, or `kind` when it holds another one.
    fn of(kind: Kind) -> Result<Self, Box<Kind>>;
}

macro_rules! replies {
    ($($kind:ident),*) => {
        $(
            impl Reply for v1::$kind {
                fn of(kind: Kind) -> Result<Self, Box<Kind>> {
                    match kind {
                        Kind::$kind(reply) => Ok(reply),
                        other => Err(Box::new(other)),
                    }
                }
            }
        )*
    };
}

replies!(Welcome, Ticket, Room, Sent, Messages, Presences, Ok, Pong);
