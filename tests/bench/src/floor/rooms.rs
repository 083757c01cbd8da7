//! A bare WebSocket server for rooms: what one says is echoed to it and passed on
//! to the others of its room.

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
type Rooms = Arc<Mutex<HashMap<Utf8Bytes, broadcast::Sender<(u64, Message)>>>>;

/// Serves until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::say_ready(listener.local_addr()?)?;
    let rooms = Rooms::default();
    for number in 0.. {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(talk(stream, number, rooms.clone()));
    }
    Ok(())
}

/// The first text is the name of the room, echoed when the socket is in it.
async fn talk(stream: TcpStream, own: u64, rooms: Rooms) -> anyhow::Result<()> {
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
            message = said.recv() => {
                let (whose, message) = message?;
                if whose != own {
                    socket.send(message).await?;
                }
            }
            message = socket.next() => {
                let message = message.context("closed")??;
                if message.is_text() {
                    // At least this socket listens.
                    let _ = room.send((own, message.clone()));
                    socket.send(message).await?;
                }
            }
        }
    }
}
