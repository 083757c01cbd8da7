//! A bare WebSocket server for rooms of two: what one says is echoed to it and
//! passed on to the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, Utf8Bytes},
};

use super::ws;

/// Messages that wait to be written to one socket.
const WAITING: usize = 256;

/// The sockets of each room, by its name.
type Rooms = Arc<Mutex<HashMap<Utf8Bytes, Vec<mpsc::Sender<Message>>>>>;

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
    let Message::Text(room) = socket.next().await.context("closed at once")?? else {
        bail!("a room is named by text");
    };
    let (sender, mut waiting) = mpsc::channel(WAITING);
    rooms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(room.clone())
        .or_default()
        .push(sender.clone());
    socket.send(Message::Text(room.clone())).await?;
    let mut other = None;
    loop {
        tokio::select! {
            Some(message) = waiting.recv() => socket.send(message).await?,
            message = socket.next() => {
                let message = message.context("closed")??;
                if message.is_text() {
                    let to = other.get_or_insert_with(|| find(&rooms, &room, &sender));
                    if let Some(to) = to {
                        to.send(message.clone()).await?;
                    }
                    socket.send(message).await?;
                }
            }
        }
    }
}

/// The other of the room, if it is there.
fn find(rooms: &Rooms, room: &str, own: &mpsc::Sender<Message>) -> Option<mpsc::Sender<Message>> {
    let rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms.get(room)?.iter().find(|sender| !sender.same_channel(own)).cloned()
}
