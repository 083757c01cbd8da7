//! A gateway of one connection that says what the test wants.

use futures::{SinkExt as _, StreamExt as _};
use mingle_client::ws::{
    Encoding, Message,
    proto::{ClientFrame, ServerFrame, client_frame, server_frame},
};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        handshake::server::{Request, Response},
        http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::CloseFrame,
    },
};

/// Listens for one client.
pub(crate) struct Listening(TcpListener);

impl Listening {
    pub(crate) async fn new() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        (Self(listener), url)
    }

    /// Takes the client and speaks as it asks.
    pub(crate) async fn accept(self) -> Gateway {
        let (stream, _) = self.0.accept().await.unwrap();
        let mut headers = HeaderMap::new();
        #[expect(clippy::result_large_err, reason = "the callback's type")]
        let upgrade = |request: &Request, mut response: Response| {
            headers = request.headers().clone();
            if let Some(offered) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered.clone());
            }
            Ok(response)
        };
        let stream = accept_hdr_async(stream, upgrade).await.unwrap();
        let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).map(|name| name.to_str().unwrap());
        let encoding = match offered {
            Some("mingle.v1.proto") => Encoding::Proto,
            Some("mingle.v1.json") | None => Encoding::Json,
            Some(other) => panic!("{other}"),
        };
        Gateway { stream, encoding, headers }
    }
}

pub(crate) struct Gateway {
    pub(crate) stream: WebSocketStream<TcpStream>,
    pub(crate) encoding: Encoding,
    pub(crate) headers: HeaderMap,
}

impl Gateway {
    /// The client's next frame.
    pub(crate) async fn asked(&mut self) -> (u32, client_frame::Kind) {
        let frame: ClientFrame = match self.stream.next().await.unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            Message::Binary(bytes) => ClientFrame::decode(bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        (frame.id, frame.kind.unwrap())
    }

    pub(crate) async fn say(&mut self, id: Option<u32>, kind: server_frame::Kind) {
        let frame = ServerFrame { id, kind: Some(kind) };
        let message = match self.encoding {
            Encoding::Json => Message::text(serde_json::to_string(&frame).unwrap()),
            Encoding::Proto => Message::binary(frame.encode_to_vec()),
        };
        self.stream.send(message).await.unwrap();
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.stream.close(Some(frame)).await.unwrap();
    }
}
