//! The bare WebSocket server of [`floor::rooms`](crate::floor::rooms).

use anyhow::{Context as _, ensure};
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::tongue::{Heard, Key, Tongue};
use crate::floor::ws::{self, Socket};

/// Text that is passed on as it is.
#[derive(Clone)]
pub(crate) struct Bare;

impl Tongue for Bare {
    const ECHOES: bool = true;

    async fn enter(&self, url: &str, _: &str, room: &str) -> anyhow::Result<Socket> {
        let mut socket = ws::connect(url, None).await?;
        socket.send(Message::text(room)).await?;
        let echoed = socket.next().await.context("closed at once")??;
        ensure!(echoed == Message::text(room), "echoed {echoed:?}");
        Ok(socket)
    }

    fn say(&self, _: &str, key: Key, body: &str) -> Message {
        Message::text(format!("{} {body}", key.text()))
    }

    fn hear(&self, message: Message) -> anyhow::Result<Heard> {
        let Message::Text(text) = message else { return Ok(Heard::Nothing) };
        let key = text.split(' ').next().unwrap_or_default();
        Ok(Heard::Message(Key::read(key)?))
    }
}
