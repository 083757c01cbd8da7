//! One connection: frames in, frames out.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use mingle_proto::gateway::v1::{ClientFrame, ServerFrame};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_with_config, connect_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        handshake::client::Request,
        http::{HeaderName, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{Encoding, Error, Result};

/// Small, because one process holds many sockets; it grows with a message.
const READ_BUFFER: usize = 4 * 1024;
/// The gateway's largest frames are pages of 256 KiB.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// RFC 6455's code for a connection that ended without a close frame.
const LOST: u16 = 1006;
/// RFC 6455's code for a close frame without one.
const UNSAID: u16 = 1005;
/// How long a gateway may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How to connect, where the usual way will not do.
#[derive(Clone, Debug)]
pub struct Dial {
    url: String,
    encoding: Encoding,
    offer: bool,
    headers: Vec<(HeaderName, String)>,
}

impl Dial {
    /// To `url` (`ws://…/ws`; TLS ends at the proxy before the gateway).
    pub fn new(url: &str, encoding: Encoding) -> Self {
        Self { url: url.to_owned(), encoding, offer: true, headers: Vec::new() }
    }

    /// Offers no subprotocol: the gateway speaks JSON then.
    pub fn without_subprotocol(mut self) -> Self {
        self.offer = false;
        self
    }

    /// Adds a header to the upgrade, such as `origin`.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Connects and upgrades.
    ///
    /// **Errors**: [`Error::Connect`], also when a header is not one or the
    /// gateway does not take the subprotocol.
    pub async fn connect(self) -> Result<Socket> {
        let (request, encoding) = (self.request()?, self.encoding);
        // Without Nagle: a request is one small segment that waits for nothing.
        let connected = connect_async_with_config(request, Some(config()), true).await;
        let (stream, _) = connected.map_err(failed)?;
        Ok(Socket { stream, encoding, ended: None })
    }

    /// Upgrades a connection that was made otherwise: through a tunnel, from a
    /// chosen address, with buffers of its own.
    ///
    /// **Errors**: as [`Dial::connect`].
    pub async fn over(self, stream: TcpStream) -> Result<Socket> {
        let (request, encoding) = (self.request()?, self.encoding);
        let stream = MaybeTlsStream::Plain(stream);
        let connected = client_async_with_config(request, stream, Some(config())).await;
        let (stream, _) = connected.map_err(failed)?;
        Ok(Socket { stream, encoding, ended: None })
    }

    fn request(&self) -> Result<Request> {
        let mut request = self.url.as_str().into_client_request().map_err(failed)?;
        let offered = self.offer.then(|| (&SEC_WEBSOCKET_PROTOCOL, self.encoding.subprotocol()));
        let headers = self.headers.iter().map(|(name, value)| (name, value.as_str()));
        for (name, value) in offered.into_iter().chain(headers) {
            let value = HeaderValue::from_str(value).map_err(|error| failed(error.into()))?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

fn failed(error: tungstenite::Error) -> Error {
    Error::Connect(Box::new(error))
}

/// What comes from the gateway.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all that comes is a frame: no box for each")]
pub enum Incoming {
    /// A reply or an event.
    Frame(ServerFrame),
    /// The end: the code (1006 without a close frame) and what was said to it.
    Closed(u16, String),
}

/// A connection to a gateway. Dropped, it is cut without a close frame.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    encoding: Encoding,
    /// How it ended: the gateway may keep TCP open long after its close frame.
    ended: Option<(u16, String)>,
}

impl Socket {
    /// Connects to `url` and offers the subprotocol of `encoding`.
    pub async fn connect(url: &str, encoding: Encoding) -> Result<Self> {
        Dial::new(url, encoding).connect().await
    }

    /// How frames are written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Sends a frame.
    pub async fn send_frame(&mut self, frame: &ClientFrame) -> Result<()> {
        let message = self.encoding.encode(frame)?;
        self.send_raw(message).await
    }

    /// Sends a message as it is, whatever the protocol says to it.
    pub async fn send_raw(&mut self, message: Message) -> Result<()> {
        self.stream.send(message).await.map_err(lost)
    }

    /// Waits for the next frame or the end, which is then told each time. Pings of the gateway are answered
    /// while this is polled. Cancel safe.
    ///
    /// **Errors**: [`Error::Malformed`]; the connection stays.
    pub async fn next(&mut self) -> Result<Incoming> {
        loop {
            if let Some((code, reason)) = &self.ended {
                return Ok(Incoming::Closed(*code, reason.clone()));
            }
            self.ended = match self.stream.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    return self.encoding.decode(message).map(Incoming::Frame);
                }
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    Some(frame.unwrap_or((UNSAID, String::new())))
                }
                Some(Ok(_)) => None,
                Some(Err(error)) => Some((LOST, error.to_string())),
                None => Some((LOST, String::new())),
            };
            if self.ended.is_some() {
                // The answer to the close; whether it arrives matters to nobody, and
                // a gateway that reads no more holds up nobody for long.
                let _ = tokio::time::timeout(GOODBYE, self.stream.flush()).await;
            }
        }
    }

    /// Says goodbye and waits for the gateway's answer, at most two seconds, those
    /// in which a gateway that reads nothing takes no goodbye included.
    pub async fn close(mut self) -> Result<()> {
        let frame = CloseFrame { code: 1000.into(), reason: "".into() };
        let said = async {
            self.stream.close(Some(frame)).await.map_err(lost)?;
            while let Some(Ok(_)) = self.stream.next().await {}
            Ok(())
        };
        tokio::time::timeout(GOODBYE, said).await.unwrap_or(Ok(()))
    }
}

fn lost(error: tungstenite::Error) -> Error {
    Error::Closed { code: LOST, reason: error.to_string() }
}
