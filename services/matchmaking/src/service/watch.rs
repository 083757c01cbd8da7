//! One stream that follows the tickets of one gateway process.
//!
//! **Guarantees**: each ticket added is answered with its state, then with its
//! final state once; a lost announcement is found by reading the rows. The
//! task ends when the caller's requests end or nobody receives any more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::Stream;
use mingle_proto::matchmaking::v1::{
    Ticket as WireTicket, TicketState, WatchRequest, WatchResponse, watch_request::Action,
};
use tokio::{
    sync::mpsc::{self, Sender},
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, Streaming};

use super::{
    Matcher,
    feed::{Inbox, News},
};
use crate::{error::Error, wire};

/// Replies that wait for a slow caller; beyond, the stream stops reading and
/// the news of each ticket merge into the latest.
const QUEUE: usize = 256;
/// Tickets that one stream follows at most.
const MAX_FOLLOWED: usize = 65_536;
/// Rows of one reading.
const PAGE: usize = 1_000;

/// Why a stream ends.
enum End {
    /// Nobody receives any more.
    Gone,
    /// The caller made a mistake, or the rows cannot be read.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What one stream follows.
pub(super) struct Watch {
    matcher: Arc<Matcher>,
    inbox: Inbox,
    /// The tickets that may still change.
    followed: HashSet<String>,
    recheck: Duration,
}

impl Watch {
    /// Follows nothing yet.
    pub(super) fn new(matcher: Arc<Matcher>, recheck: Duration) -> Self {
        let inbox = matcher.feed.inbox();
        Self { matcher, inbox, followed: HashSet::new(), recheck }
    }

    /// Serves `requests`; the replies come from what is returned.
    pub(super) fn start(
        mut self,
        requests: Streaming<WatchRequest>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<WatchResponse, Status>> + Send + 'static {
        let (replies, queue) = mpsc::channel(QUEUE);
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = replies.closed() => {}
                end = self.serve(requests, &replies) => if let Err(End::Failed(error)) = end {
                    let _ = replies.send(Err(error.into())).await;
                },
            }
        });
        ReceiverStream::new(queue)
    }

    async fn serve(
        &mut self,
        mut requests: Streaming<WatchRequest>,
        replies: &Sender<Result<WatchResponse, Status>>,
    ) -> Result<(), End> {
        let mut recheck = tokio::time::interval_at(Instant::now() + self.recheck, self.recheck);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(WatchRequest { action })) => self.act(action, replies).await?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                news = self.inbox.recv() => self.tell(news, replies).await?,
                _ = recheck.tick() => self.reread(replies).await?,
            }
        }
    }

    async fn act(
        &mut self,
        action: Option<Action>,
        replies: &Sender<Result<WatchResponse, Status>>,
    ) -> Result<(), End> {
        match action {
            None => {}
            Some(Action::Add(ids)) => {
                let (ids, unknown) = wire::short_ids("add", ids)?;
                for ticket_id in unknown {
                    reply(replies, nobody(ticket_id)).await?;
                }
                self.add(ids, replies).await?;
            }
            Some(Action::Remove(ids)) => {
                for ticket_id in wire::short_ids("remove", ids)?.0 {
                    self.drop(&ticket_id);
                }
            }
            Some(Action::Alive(ids)) => {
                let (ids, _) = wire::short_ids("alive", ids)?;
                self.matcher.index.alive(&ids, self.matcher.clock.now_ms()).await?;
            }
            Some(Action::Told(ids)) => {
                let (ids, _) = wire::short_ids("told", ids)?;
                self.matcher.tickets.told(ids).await?;
            }
        }
        Ok(())
    }

    /// Follows first, then reads, so that nothing falls between.
    async fn add(
        &mut self,
        ids: Vec<String>,
        replies: &Sender<Result<WatchResponse, Status>>,
    ) -> Result<(), End> {
        if self.followed.len() + ids.len() > MAX_FOLLOWED {
            return Err(Error::TooManyTickets.into());
        }
        for ticket_id in &ids {
            self.inbox.follow(ticket_id);
            self.followed.insert(ticket_id.clone());
        }
        let mut found = self.read(&ids).await?;
        for ticket_id in ids {
            let ticket = found.remove(&ticket_id).unwrap_or_else(|| nobody(ticket_id));
            self.show(ticket, replies).await?;
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        news: News,
        replies: &Sender<Result<WatchResponse, Status>>,
    ) -> Result<(), End> {
        for ticket in news.tickets.into_values() {
            if self.followed.contains(&ticket.ticket_id) && !waits(&ticket) {
                self.show(ticket, replies).await?;
            }
        }
        if news.gap { self.reread(replies).await } else { Ok(()) }
    }

    /// Reads what is followed and tells what has changed.
    async fn reread(&mut self, replies: &Sender<Result<WatchResponse, Status>>) -> Result<(), End> {
        let ids: Vec<String> = self.followed.iter().cloned().collect();
        for page in ids.chunks(PAGE) {
            let changed = self.read(page).await?.into_values().filter(|it| !waits(it));
            for ticket in changed.collect::<Vec<_>>() {
                self.show(ticket, replies).await?;
            }
        }
        Ok(())
    }

    async fn read(&self, ids: &[String]) -> Result<HashMap<String, WireTicket>, End> {
        let found = self.matcher.tickets.get(ids).await?;
        let named = |it| (wire::settled(it), it.ticket_id.clone());
        Ok(found.iter().map(named).map(|(ticket, id)| (id, ticket)).collect())
    }

    /// Tells a state. After a final one there is nothing left to follow.
    async fn show(
        &mut self,
        ticket: WireTicket,
        replies: &Sender<Result<WatchResponse, Status>>,
    ) -> Result<(), End> {
        if !waits(&ticket) {
            self.drop(&ticket.ticket_id);
        }
        reply(replies, ticket).await
    }

    fn drop(&mut self, ticket_id: &str) {
        self.followed.remove(ticket_id);
        self.inbox.unfollow(ticket_id);
    }
}

async fn reply(
    replies: &Sender<Result<WatchResponse, Status>>,
    ticket: WireTicket,
) -> Result<(), End> {
    let response = WatchResponse { ticket: Some(ticket) };
    replies.send(Ok(response)).await.map_err(|_| End::Gone)
}

fn waits(ticket: &WireTicket) -> bool {
    ticket.state() == TicketState::Waiting
}

/// What is answered for an id that no ticket has.
fn nobody(ticket_id: String) -> WireTicket {
    WireTicket { ticket_id, ..WireTicket::default() }
}
