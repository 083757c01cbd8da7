//! How a socket ends.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use futures::SinkExt as _;
use mingle_client::close::Close;
use mingle_proto::gateway::v1::{self as pb, server_frame};

use super::{Connection, codec, refusal};
use crate::{
    outbox::{Closing, Event},
    ws::handle::Reply,
};

/// How long a peer may take to read our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Of it, what a request in flight may take.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// The socket is at its end.
pub(super) enum End {
    /// By our choice.
    Close(Closing),
    /// By the peer's, or the network's.
    Gone,
}

impl Connection {
    /// The library refused the peer's bytes: too large, or no WebSocket.
    pub(super) async fn broken(&mut self, error: &axum::Error) -> End {
        let too_large = error.to_string().contains("too long");
        if too_large {
            let frame = CloseFrame { code: 1009, reason: "message too big".into() };
            let send = self.socket.send(Message::Close(Some(frame)));
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, send).await;
        }
        End::Gone
    }

    /// A draining server answers what it was asked already.
    async fn answer_last(&mut self) -> Result<(), axum::Error> {
        let Some(request) = self.request.take_if(|request| !request.is_hello) else {
            return Ok(());
        };
        let kind = request.work.await.map_or_else(refusal, |reply| reply.kind);
        self.socket.feed(codec::reply(self.outbox.encoding(), request.id, kind)).await
    }

    async fn say_goodbye(&mut self, closing: Closing) -> Result<(), axum::Error> {
        if closing.retry_after_ms > 0 {
            let _ = tokio::time::timeout(LAST_ANSWER, self.answer_last()).await;
            let draining = pb::Draining { retry_after_ms: closing.retry_after_ms };
            let event = Event::new(server_frame::Kind::Draining(draining));
            self.socket.feed(event.message(self.outbox.encoding())).await?;
        }
        let close = closing.close;
        let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
        self.socket.send(Message::Close(Some(frame))).await?;
        // Until the peer has answered, the close may not have arrived.
        while let Some(Ok(_)) = self.socket.recv().await {}
        Ok(())
    }

    /// Says why, if that is ours to say, and gives up the session.
    pub(super) async fn finish(&mut self, end: End) {
        if let End::Close(closing) = end {
            // A peer that reads no more does not hold us, nor the whole process.
            let is_ours = closing.close == Close::Draining;
            let most = if is_ours { self.gateway.spread } else { CLOSE_TIMEOUT };
            let _ = tokio::time::timeout(most.min(CLOSE_TIMEOUT), self.say_goodbye(closing)).await;
        }
        self.end_session().await;
    }

    async fn end_session(&mut self) {
        self.outbox.end();
        // The request may have made the session that must be ended: of a socket
        // that closes during its hello the claim that was made is waited for.
        if let Some(request) = self.request.take().filter(|request| request.is_hello)
            && let Ok(Reply { session: Some(session), .. }) = request.work.await
        {
            self.session = Some(session);
        }
        let Some(session) = self.session.take() else { return };
        for ticket in session.tickets() {
            self.gateway.tickets.forget(&ticket, session.socket);
        }
        // Presence may hear of it much later: nothing more is kept for it then.
        session.leave_all();
        let watched = session.set_watched(Vec::new());
        self.gateway.people.unwatch(session.socket, &watched);
        self.gateway.sessions.disconnect(session.socket, &session.session_id).await;
    }
}

/// By our choice, with this code.
pub(super) fn closing(close: Close) -> End {
    End::Close(Closing { close, retry_after_ms: 0 })
}
