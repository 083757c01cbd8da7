//! Mingle's frames.

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use mingle_client::ws::{
    Encoding,
    proto::{
        ClientFrame, Hello, MatchJoin, Position, RoomJoin, Send, ServerFrame, client_frame,
        server_frame::Kind,
    },
};
use mingle_proto::{ListValue, Value, value};
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;

use super::tongue::{Heard, Key, Tongue};
use crate::{
    floor::ws::{self, Socket},
    token,
};

/// Of the requests before the load, whose own ids count from 0.
const ENTERS: u32 = u32::MAX;
const POOL: &str = "random-chat";

/// Mingle's protocol, in protobuf.
#[derive(Clone)]
pub(crate) struct Mingle;

impl Mingle {
    /// Connects and says hello as `user`.
    pub(crate) async fn greet(url: &str, user: &str) -> anyhow::Result<Socket> {
        let mut socket = ws::connect(url, Some(Encoding::Proto.subprotocol())).await?;
        let hello = Hello { token: token::mint(user)?, resume: None };
        let told = ask(&mut socket, client_frame::Kind::Hello(hello)).await?;
        ensure!(matches!(told, Kind::Welcome(_)), "a hello was answered by {told:?}");
        Ok(socket)
    }

    /// Waits as one of this gender for one of the wanted, and enters their room
    /// from its beginning. Returns the room.
    pub(crate) async fn meet(
        socket: &mut Socket,
        gender: &str,
        wanted: &str,
    ) -> anyhow::Result<String> {
        let wanted = Value { kind: Some(value::Kind::StringValue(wanted.to_owned())) };
        let search = MatchJoin {
            pool: POOL.to_owned(),
            attributes: [("gender".to_owned(), gender.to_owned())].into(),
            wants: [("gender".to_owned(), ListValue { values: vec![wanted] })].into(),
        };
        socket.send(frame(ENTERS, client_frame::Kind::MatchJoin(search))).await?;
        let room = loop {
            match next(socket).await?.kind {
                Some(Kind::Matched(matched)) => break matched.room_id,
                Some(Kind::Error(error)) => bail!("a matchJoin was answered by {error:?}"),
                _ => {}
            }
        };
        let after = Some(Position::default());
        join(socket, RoomJoin { room_id: room.clone(), after }).await?;
        Ok(room)
    }
}

async fn join(socket: &mut Socket, room: RoomJoin) -> anyhow::Result<()> {
    let told = ask(socket, client_frame::Kind::RoomJoin(room)).await?;
    ensure!(matches!(told, Kind::Room(_)), "a roomJoin was answered by {told:?}");
    Ok(())
}

impl Tongue for Mingle {
    const ECHOES: bool = false;

    async fn enter(&self, url: &str, user: &str, room: &str) -> anyhow::Result<Socket> {
        let mut socket = Self::greet(url, user).await?;
        join(&mut socket, RoomJoin { room_id: room.to_owned(), after: None }).await?;
        Ok(socket)
    }

    fn say(&self, room: &str, key: Key, body: &str) -> Message {
        frame(
            key.index,
            client_frame::Kind::Send(Send {
                room_id: room.to_owned(),
                client_msg_id: key.text(),
                body: body.to_owned(),
                ..Send::default()
            }),
        )
    }

    fn hear(&self, message: Message) -> anyhow::Result<Heard> {
        let Message::Binary(bytes) = message else { return Ok(Heard::Nothing) };
        let told = ServerFrame::decode(bytes)?;
        Ok(match (told.id, told.kind) {
            (None, Some(Kind::Message(message))) => {
                Heard::Message(Key::read(&message.client_msg_id)?)
            }
            (Some(id), Some(Kind::Sent(_))) => Heard::Taken(id),
            (Some(id), Some(Kind::Error(_))) => Heard::Refused(id),
            (_, Some(kind @ Kind::Gap(_))) => bail!("a socket was told {kind:?}"),
            _ => Heard::Nothing,
        })
    }
}

async fn ask(socket: &mut Socket, kind: client_frame::Kind) -> anyhow::Result<Kind> {
    socket.send(frame(ENTERS, kind)).await?;
    loop {
        let told = next(socket).await?;
        if told.id == Some(ENTERS) {
            return told.kind.context("an empty reply");
        }
    }
}

async fn next(socket: &mut Socket) -> anyhow::Result<ServerFrame> {
    loop {
        let message = socket.next().await.context("closed at once")??;
        if let Message::Binary(bytes) = message {
            return Ok(ServerFrame::decode(bytes)?);
        }
    }
}

fn frame(id: u32, kind: client_frame::Kind) -> Message {
    let frame = ClientFrame { id, kind: Some(kind), ..ClientFrame::default() };
    Message::binary(frame.encode_to_vec())
}
