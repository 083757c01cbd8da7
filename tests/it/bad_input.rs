//! Whatever a client sends, it is told what is wrong with it, and neither the
//! connection nor the server minds.

mod frames;
mod hello;
mod limits;
mod requests;
mod rest;
mod too_often;

use mingle_client::ws::{
    Encoding, Error, Incoming, Message, Socket,
    proto::{self, ClientFrame, Ping, ServerFrame, client_frame, server_frame::Kind},
};

use crate::world::{SOON, World, token};

/// An id that is none of a room, message or ticket.
const MISSING: &str = "01900000-0000-7000-8000-000000000000";
/// The id of frames whose answers are looked at.
const ID: u32 = 7;

/// What a refusal says: code, reason, field.
type Why<'a> = (&'a str, &'a str, &'a str);

/// A greeted socket of `user`.
async fn greeted(world: &World, user: &str, encoding: Encoding) -> Socket {
    let mut socket = world.socket(encoding).await;
    let answer = ask(&mut socket, hello(&token(user))).await;
    assert!(matches!(answer, Kind::Welcome(_)), "{answer:?}");
    socket
}

pub(crate) fn hello(token: &str) -> client_frame::Kind {
    client_frame::Kind::Hello(proto::Hello { token: token.to_owned(), resume: None })
}

/// Sends a request and returns its reply.
pub(crate) async fn ask(socket: &mut Socket, kind: client_frame::Kind) -> Kind {
    socket
        .send_frame(&ClientFrame { id: ID, kind: Some(kind), ..ClientFrame::default() })
        .await
        .unwrap();
    reply(socket).await.1
}

/// What comes next; something does.
async fn next(socket: &mut Socket) -> Incoming {
    let next = tokio::time::timeout(SOON, socket.next()).await;
    next.expect("something comes in time").unwrap()
}

/// The next reply and its id, events left out.
async fn reply(socket: &mut Socket) -> (u32, Kind) {
    loop {
        match next(socket).await {
            Incoming::Frame(ServerFrame { id: Some(id), kind: Some(kind) }) => return (id, kind),
            Incoming::Frame(_) => {}
            Incoming::Closed(code, reason) => panic!("closed with {code}: {reason}"),
        }
    }
}

/// The next reply is a refusal that says why, in words too.
#[track_caller]
fn assert_refused(answer: &Kind, (code, reason, field): Why<'_>, what: &str) {
    let Kind::Error(error) = answer else { panic!("{what}: {answer:?}") };
    let said = (error.code.as_str(), error.reason.as_str(), error.field.as_str());
    assert_eq!(said, (code, reason, field), "{what}: {error:?}");
    assert!(!error.message.is_empty(), "{what}");
}

/// The connection goes on as if nothing had been.
async fn assert_alive(socket: &mut Socket, what: &str) {
    let answer = ask(socket, client_frame::Kind::Ping(Ping {})).await;
    assert!(matches!(answer, Kind::Pong(_)), "{what}: {answer:?}");
}

/// Waits for the end and returns its code.
async fn closed(socket: &mut Socket) -> u16 {
    loop {
        match next(socket).await {
            Incoming::Frame(_) => {}
            Incoming::Closed(code, _) => return code,
        }
    }
}

/// Sends text or bytes as they are.
async fn send(socket: &mut Socket, message: impl Into<Message>) -> Result<(), Error> {
    socket.send_raw(message.into()).await
}
