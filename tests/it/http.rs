//! A small HTTP client: one connection per call, JSON both ways.

use std::{error::Error, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// As it came.
    pub(crate) text: String,
    /// The body as JSON; null where it is none.
    pub(crate) body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.body
    }

    /// A header's text; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code, reason and field of a problem.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, &str, &str, &str) {
        let kind = self.headers.get(header::CONTENT_TYPE);
        assert_eq!(kind.unwrap(), "application/problem+json", "{}", self.text);
        let text = |key: &str| self.body[key].as_str().unwrap();
        (self.status.as_u16(), text("code"), text("reason"), text("field"))
    }
}

/// Calls `path` at `addr` with a bearer token (empty: none) and a body.
pub(crate) async fn call(
    addr: SocketAddr,
    method: Method,
    path: &str,
    token: &str,
    body: impl Into<Bytes>,
) -> Answer {
    send(addr, request(method, path, token, body)).await
}

/// A request with a bearer token (empty: none) and a body.
pub(crate) fn request(
    method: Method,
    path: &str,
    token: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let body: Bytes = body.into();
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body)).unwrap()
}

/// Sends a request as it is, but for its `Host`.
pub(crate) async fn send(addr: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    try_send(addr, request).await.unwrap()
}

/// The same where there may be no answer.
pub(crate) async fn try_send(
    addr: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    request.headers_mut().insert(header::HOST, addr.to_string().parse()?);
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8_lossy(&body).into_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// A connection ends with the call that it was made for, also one that is given
/// up.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `GET`
pub(crate) async fn get(addr: SocketAddr, path: &str, token: &str) -> Answer {
    call(addr, Method::GET, path, token, "").await
}

/// `POST`
pub(crate) async fn post(addr: SocketAddr, path: &str, token: &str, body: &Value) -> Answer {
    call(addr, Method::POST, path, token, body.to_string()).await
}

/// What a process counted under a name, over all labels.
pub(crate) async fn counter(probes: SocketAddr, name: &str) -> u64 {
    let metrics = get(probes, "/metrics", "").await.text;
    let of_name = metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
