//! The tickets that sockets of this process wait for.

use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use mingle_proto::{
    errors::v1::Reason,
    matchmaking::v1::{
        self as mm, matchmaking_service_client::MatchmakingServiceClient, watch_request::Action,
    },
};
use mingle_runtime::{grpc::Transport, status::Kind};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::link::{Feed, Follow};
use crate::{
    fault::Fault,
    outbox::{Entry, Outbox},
    translate,
};

/// Tickets named in one request when a stream opens.
const CHUNK: usize = 500;
/// Tickets that one process follows, below what one stream takes.
const MAX_TICKETS: usize = 60_000;

struct Waiter {
    socket: u64,
    outbox: Arc<Outbox>,
}

/// What is to be said of a ticket.
pub(crate) enum Wish {
    /// It is followed from now on, or no longer.
    Changed(Arc<str>),
    /// Its owner answered a ping.
    Alive(Arc<str>),
    /// Its owner was told the outcome.
    Told(Arc<str>),
}

/// The tickets of this process, each with the sockets that wait for it.
pub(crate) struct Tickets {
    waiting: DashMap<Arc<str>, Vec<Waiter>>,
    wishes: mpsc::Sender<Wish>,
    client: MatchmakingServiceClient<Transport>,
}

impl Tickets {
    /// Watches through `matchmaking`; `wishes` feeds the link.
    pub(crate) fn new(matchmaking: Transport, wishes: mpsc::Sender<Wish>) -> Self {
        let client = MatchmakingServiceClient::new(matchmaking);
        Self { waiting: DashMap::new(), wishes, client }
    }

    /// How many are waited for.
    pub(crate) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Fails when one more ticket would be too many for this process.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.waiting.len() < MAX_TICKETS {
            return Ok(());
        }
        let message = "this gateway follows as many tickets as it may";
        Err(Fault::new(Kind::Exhausted, Reason::Overloaded, message).retry())
    }

    /// Waits for a ticket on behalf of a socket. Its present state is told
    /// too, so nothing is missed between asking and waiting.
    pub(crate) async fn wait(&self, ticket: Arc<str>, socket: u64, outbox: Arc<Outbox>) {
        let mut waiters = self.waiting.entry(ticket.clone()).or_default();
        waiters.retain(|waiter| waiter.socket != socket);
        waiters.push(Waiter { socket, outbox });
        drop(waiters);
        // The link is gone only when the gateway stops.
        let _ = self.wishes.send(Wish::Changed(ticket)).await;
    }

    /// No longer waits on behalf of a socket.
    pub(crate) fn forget(&self, ticket: &Arc<str>, socket: u64) {
        let emptied = self.waiting.remove_if_mut(ticket, |_, waiters| {
            waiters.retain(|waiter| waiter.socket != socket);
            waiters.is_empty()
        });
        if let Some((ticket, _)) = emptied {
            self.wish(Wish::Changed(ticket));
        }
    }

    /// Says what can be lost: a proof of life that the next one repeats, an
    /// outcome that would be told once more.
    pub(crate) fn wish(&self, wish: Wish) {
        let _ = self.wishes.try_send(wish);
    }
}

fn ids(tickets: &[Arc<str>]) -> mm::TicketIds {
    mm::TicketIds { ticket_ids: tickets.iter().map(ToString::to_string).collect() }
}

#[async_trait]
impl Follow for Tickets {
    type Wish = Wish;
    type Request = mm::WatchRequest;
    type Response = mm::WatchResponse;

    async fn open(
        &self,
        feed: Feed<mm::WatchRequest>,
    ) -> Result<Streaming<mm::WatchResponse>, Status> {
        Ok(self.client.clone().watch(feed).await?.into_inner())
    }

    fn everything(&self) -> Vec<mm::WatchRequest> {
        let tickets: Vec<_> = self.waiting.iter().map(|entry| entry.key().clone()).collect();
        let add = |chunk: &[_]| mm::WatchRequest { action: Some(Action::Add(ids(chunk))) };
        tickets.chunks(CHUNK).map(add).collect()
    }

    fn request(&self, wish: Wish) -> mm::WatchRequest {
        let action = match wish {
            Wish::Changed(ticket) if self.waiting.contains_key(&ticket) => {
                Action::Add(ids(&[ticket]))
            }
            Wish::Changed(ticket) => Action::Remove(ids(&[ticket])),
            Wish::Alive(ticket) => Action::Alive(ids(&[ticket])),
            Wish::Told(ticket) => Action::Told(ids(&[ticket])),
        };
        mm::WatchRequest { action: Some(action) }
    }

    fn outlives(&self, wish: &Wish) -> bool {
        matches!(wish, Wish::Told(_))
    }

    /// Tells the sockets of a ticket that ended. A match without room is not
    /// told yet. The service ends to follow such a ticket by itself.
    async fn take(&self, response: mm::WatchResponse) -> Option<mm::WatchRequest> {
        let ticket = response.ticket?;
        let state = ticket.state();
        let unfinished = state == mm::TicketState::Matched && ticket.room_id.is_empty();
        if state == mm::TicketState::Waiting || unfinished {
            return None;
        }
        let id: Arc<str> = ticket.ticket_id.as_str().into();
        let (_, waiters) = self.waiting.remove(&id)?;
        let entry = if state == mm::TicketState::Matched {
            Entry::Matched(translate::matched(ticket), id)
        } else {
            Entry::Over(id)
        };
        for waiter in waiters {
            waiter.outbox.push(entry.clone());
        }
        None
    }

    fn name(&self) -> &'static str {
        "matchmaking"
    }
}
