//! A bare WebSocket server for rooms: what one says is passed on to all of its
//! room, itself too.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, Utf8Bytes},
};

use super::ws;

/// Messages of a room that wait to be written; a socket that is further behind
/// is closed.
const WAITING: usize = 1024;

/// What is said in each room, by its name.
type Rooms = Arc<Mutex<HashMap<Utf8Bytes, broadcast::Sender<Message>>>>;

/// Serves until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::say_ready(listener.local_addr()?)?;
    let rooms = Rooms::default();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(talk(stream, rooms.clone()));
    }
}

/// The first text is the name of the room, echoed when the socket is in it.
async fn talk(stream: TcpStream, rooms: Rooms) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async_with_config(stream, Some(ws::config())).await?;
    let Message::Text(name) = socket.next().await.context("closed at once")?? else {
        bail!("a room is named by text");
    };
    let room = rooms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(name.clone())
        .or_insert_with(|| broadcast::Sender::new(WAITING))
        .clone();
    let mut said = room.subscribe();
    socket.send(Message::Text(name)).await?;
    loop {
        tokio::select! {
            message = said.recv() => socket.send(message?).await?,
            message = socket.next() => {
                let message = message.context("closed")??;
                if message.is_text() {
                    // At least this socket hears it.
                    let _ = room.send(message);
                }
            }
        }
    }
}
