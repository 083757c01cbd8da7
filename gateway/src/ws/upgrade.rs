//! `GET /ws`: from HTTP to a socket. Refusals come as close codes after the
//! upgrade, because browsers cannot read an HTTP status there.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        Extension, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use mingle_client::close::Close;
use mingle_proto::errors::v1::Reason;
use mingle_runtime::status::Kind;

use super::connection::Connection;
use crate::{
    auth::origin, fault::Fault, gateway::Gateway, listen::Place, outbox::Encoding, throttle::Asker,
};

/// The subprotocols, the default first.
const JSON: &str = "mingle.v1.json";
const PROTO: &str = "mingle.v1.proto";
/// Allocated per socket for good; frames larger than it grow it while they
/// are read.
const READ_BUFFER: usize = 512;
/// Written at once when it is full, or flushed.
const WRITE_BUFFER: usize = 4 * 1024;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Upgrades.
pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    Extension(place): Extension<Place>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let message = "this route takes WebSocket upgrades (RFC 6455)";
        return Fault::new(Kind::Invalid, Reason::Malformed, message).into_response();
    };
    let limits = &gateway.config.limits;
    // Frames up to four times the limit are read and refused by a typed
    // error; beyond that the connection is closed 1009.
    let ceiling = limits.frame_bytes * 4;
    let upgrade = upgrade
        .protocols([JSON, PROTO])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(ceiling)
        .max_frame_size(ceiling);
    let chosen = upgrade.selected_protocol().and_then(|name| name.to_str().ok());
    let encoding = if chosen == Some(PROTO) { Encoding::Proto } else { Encoding::Json };
    let is_allowed = origin::is_allowed(&headers, &gateway.config.allowed_origins)
        && gateway.is_own_host(&headers);
    // Tracked from now on, so that the process waits for it when it drains;
    // and it keeps its place among the connections.
    let kept = (gateway.ctx.tasks.token(), place);
    upgrade.on_upgrade(move |socket| async move {
        let _kept = kept;
        if is_allowed {
            let mut connection = Connection::new(gateway, socket, encoding, asker.address);
            connection.run().await;
        } else {
            refuse(socket, Close::OriginNotAllowed).await;
        }
    })
}

async fn refuse(mut socket: WebSocket, close: Close) {
    let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, goodbye).await;
}
