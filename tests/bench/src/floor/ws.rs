//! A bare tokio-tungstenite server, and sockets to it: one task each, which
//! echoes text.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, accept_async_with_config, connect_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

/// A socket to this server.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// As lean as the server's own sockets: with the default of 128 KiB each the
/// library's buffers would be all that is measured.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(512).write_buffer_size(4096)
}

/// Serves until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::say_ready(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(stream: TcpStream) -> Result<(), tungstenite::Error> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async_with_config(stream, Some(config())).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Connects, with a subprotocol if one is named.
pub(crate) async fn connect(url: &str, subprotocol: Option<&str>) -> anyhow::Result<Socket> {
    let mut request = url.into_client_request()?;
    if let Some(name) = subprotocol {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(name)?);
    }
    let (socket, _) = connect_async_with_config(request, Some(config()), true).await?;
    Ok(socket)
}

/// Connects and has `greeting` echoed.
pub(crate) async fn greet(addr: SocketAddr, greeting: &str) -> anyhow::Result<Socket> {
    let mut socket = connect(&format!("ws://{addr}/"), None).await?;
    socket.send(Message::text(greeting)).await?;
    let echoed = socket.next().await.context("closed before the echo")??;
    match echoed {
        Message::Text(text) if *text == *greeting => Ok(socket),
        other => bail!("echoed {other:?}"),
    }
}

/// Reads until the socket ends.
pub(crate) async fn hold(mut socket: Socket) {
    while let Some(Ok(_)) = socket.next().await {}
}
