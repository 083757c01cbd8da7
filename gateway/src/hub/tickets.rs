//! The tickets that sockets of this process wait for.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use mingle_proto::matchmaking::v1::{
    self as mm, matchmaking_service_client::MatchmakingServiceClient, watch_request::Action,
};
use mingle_runtime::grpc::Transport;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::link::{Feed, Follow};
use crate::{
    outbox::{Entry, Outbox},
    translate,
};

/// Tickets named in one request when a stream opens.
const CHUNK: usize = 500;

struct Waiter {
    socket: u64,
    outbox: Arc<Outbox>,
}

/// The tickets of this process, each with the sockets that wait for it.
pub(crate) struct Tickets {
    waiting: DashMap<Arc<str>, Vec<Waiter>>,
    requests: mpsc::Sender<mm::WatchRequest>,
    client: MatchmakingServiceClient<Transport>,
}

impl Tickets {
    /// Watches through `matchmaking`; `requests` feeds the link.
    pub(crate) fn new(matchmaking: Transport, requests: mpsc::Sender<mm::WatchRequest>) -> Self {
        let client = MatchmakingServiceClient::new(matchmaking);
        Self { waiting: DashMap::new(), requests, client }
    }

    /// Waits for a ticket on behalf of a socket. Its present state is told
    /// too, so nothing is missed between asking and waiting.
    pub(crate) async fn wait(&self, ticket: Arc<str>, socket: u64, outbox: Arc<Outbox>) {
        let mut waiters = self.waiting.entry(ticket.clone()).or_default();
        waiters.retain(|waiter| waiter.socket != socket);
        waiters.push(Waiter { socket, outbox });
        drop(waiters);
        self.ask(Action::Add(one(&ticket))).await;
    }

    /// No longer waits on behalf of a socket.
    pub(crate) fn forget(&self, ticket: &Arc<str>, socket: u64) {
        let emptied = self.waiting.remove_if_mut(ticket, |_, waiters| {
            waiters.retain(|waiter| waiter.socket != socket);
            waiters.is_empty()
        });
        if emptied.is_some() {
            self.ask_now(Action::Remove(one(ticket)));
        }
    }

    /// The ticket's owner answered a ping.
    pub(crate) fn alive(&self, ticket: &str) {
        self.ask_now(Action::Alive(one(ticket)));
    }

    /// The ticket's owner was told the outcome.
    pub(crate) fn told(&self, ticket: &str) {
        self.ask_now(Action::Told(one(ticket)));
    }

    async fn ask(&self, action: Action) {
        // The link is gone only when the gateway stops.
        let _ = self.requests.send(mm::WatchRequest { action: Some(action) }).await;
    }

    /// For what can be lost: a proof of life that the next one repeats, and
    /// an outcome that would be told once more.
    fn ask_now(&self, action: Action) {
        let _ = self.requests.try_send(mm::WatchRequest { action: Some(action) });
    }
}

fn one(ticket: &str) -> mm::TicketIds {
    mm::TicketIds { ticket_ids: vec![ticket.to_owned()] }
}

#[async_trait]
impl Follow for Tickets {
    type Request = mm::WatchRequest;
    type Response = mm::WatchResponse;

    async fn open(
        &self,
        feed: Feed<mm::WatchRequest>,
    ) -> Result<Streaming<mm::WatchResponse>, Status> {
        Ok(self.client.clone().watch(feed).await?.into_inner())
    }

    fn everything(&self) -> Vec<mm::WatchRequest> {
        let ids: Vec<_> = self.waiting.iter().map(|entry| entry.key().to_string()).collect();
        let request = |ids: &[String]| {
            let action = Action::Add(mm::TicketIds { ticket_ids: ids.to_vec() });
            mm::WatchRequest { action: Some(action) }
        };
        ids.chunks(CHUNK).map(request).collect()
    }

    /// Tells the sockets of a ticket that ended. A match without room is not
    /// told yet.
    async fn take(&self, response: mm::WatchResponse) {
        let Some(ticket) = response.ticket else { return };
        let state = ticket.state();
        let unfinished = state == mm::TicketState::Matched && ticket.room_id.is_empty();
        if state == mm::TicketState::Waiting || unfinished {
            return;
        }
        let id: Arc<str> = ticket.ticket_id.as_str().into();
        let Some((_, waiters)) = self.waiting.remove(&id) else { return };
        self.ask_now(Action::Remove(one(&id)));
        if state == mm::TicketState::Matched {
            let event = translate::matched(ticket);
            for waiter in waiters {
                waiter.outbox.push(Entry::Matched(event.clone(), id.clone()));
            }
        }
    }

    fn name(&self) -> &'static str {
        "matchmaking"
    }
}
