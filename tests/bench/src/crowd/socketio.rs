//! Socket.IO's packets over a WebSocket: Engine.IO protocol 4, Socket.IO
//! protocol 5 (<https://socket.io/docs/v4/socket-io-protocol/>).

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::tongue::{Heard, Key, Tongue};
use crate::floor::ws::{self, Socket};

const OPEN: &str = "0";
const CONNECT: &str = "40";
const EVENT: &str = "42";
const ACK: &str = "43";
const PING: &str = "2";
const PONG: &str = "3";
/// Of the request before the load, whose own ids count from 0.
const ENTERS: u32 = u32::MAX;

/// An event of our servers: `["message", {id, sender, body}]`.
#[derive(Deserialize)]
struct Event<'a>(#[serde(borrow)] &'a str, #[serde(borrow)] Told<'a>);

#[derive(Deserialize)]
struct Told<'a> {
    id: &'a str,
}

/// Socket.IO's protocol.
#[derive(Clone)]
pub(crate) struct SocketIo;

impl Tongue for SocketIo {
    const ECHOES: bool = false;

    async fn enter(&self, url: &str, user: &str, room: &str) -> anyhow::Result<Socket> {
        let url = format!("{url}/socket.io/?EIO=4&transport=websocket");
        let mut socket = ws::connect(&url, None).await?;
        expect(&mut socket, OPEN).await?;
        socket.send(Message::text(format!("{CONNECT}{}", json!({"user": user})))).await?;
        expect(&mut socket, CONNECT).await?;
        let join = format!("{EVENT}{ENTERS}{}", json!(["join", room]));
        socket.send(Message::text(join)).await?;
        expect(&mut socket, ACK).await?;
        Ok(socket)
    }

    fn say(&self, room: &str, key: Key, body: &str) -> Message {
        let event = json!(["send", {"room": room, "id": key.text(), "body": body}]);
        Message::text(format!("{EVENT}{}{event}", key.index))
    }

    fn hear(&self, message: Message) -> anyhow::Result<Heard> {
        let Message::Text(text) = message else { return Ok(Heard::Nothing) };
        if let Some(event) = text.strip_prefix(EVENT) {
            let Event(name, told) = serde_json::from_str(event).context("an event")?;
            ensure!(name == "message", "a socket was told of {name}");
            return Ok(Heard::Message(Key::read(told.id)?));
        }
        if let Some(ack) = text.strip_prefix(ACK) {
            let (id, answer) = ack.split_at(ack.find('[').unwrap_or(ack.len()));
            let id = id.parse()?;
            return Ok(if answer == "[true]" { Heard::Taken(id) } else { Heard::Refused(id) });
        }
        match text.as_str() {
            PING => Ok(Heard::Answer(Message::text(PONG))),
            other => bail!("a socket was told {other}"),
        }
    }
}

/// Waits for a packet of this kind.
async fn expect(socket: &mut Socket, kind: &str) -> anyhow::Result<()> {
    loop {
        let message = socket.next().await.context("closed at once")??;
        if message.to_text().is_ok_and(|text| text.starts_with(kind)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_what_the_protocol_says() {
        let key = Key { index: 3, due_us: 9 };
        let said = SocketIo.say("r", key, "hi");
        assert!(said.to_text().unwrap().starts_with("423[\"send\",{"));
        let hear = |text: &'static str| SocketIo.hear(Message::text(text)).unwrap();
        let event = r#"42["message",{"id":"3-9","sender":"ann","body":"hi"}]"#;
        assert!(matches!(hear(event), Heard::Message(heard) if heard == key));
        assert!(matches!(hear("433[true]"), Heard::Taken(3)));
        assert!(matches!(hear("433[false]"), Heard::Refused(3)));
        assert!(matches!(hear("2"), Heard::Answer(pong) if pong == Message::text("3")));
        assert!(SocketIo.hear(Message::text("41")).is_err());
    }
}
