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

use futures::{FutureExt as _, Stream};
use mingle_proto::matchmaking::v1::{
    Ticket as WireTicket, TicketState, WatchRequest, WatchResponse, watch_request::Action,
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, Streaming};

use super::{
    Matcher,
    feed::{Inbox, News},
};
use crate::{
    error::Error,
    wire::{self, Refusal},
};

/// Replies that wait for a slow caller; beyond, the stream stops reading and
/// the news of each ticket merge into the latest.
const QUEUE: usize = 256;
/// Tickets that one stream follows at most.
const MAX_FOLLOWED: usize = 65_536;
/// Rows of one reading or writing.
const PAGE: usize = 1_000;
/// Requests that are done together when they have arrived together.
const TOGETHER: usize = 256;
/// Messages about told tickets that wait to be written; beyond, the stream
/// stops reading.
const TOLD: usize = 64;

type Replies = Sender<Result<WatchResponse, Status>>;

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

/// What is wished by requests that have arrived together: tickets that are
/// added together are read together.
#[derive(Default)]
struct Wishes {
    added: Vec<String>,
    /// Of those added, the ones that were not removed after.
    wanted: HashSet<String>,
    /// Added, and no ticket can have such an id.
    absent: Vec<String>,
    removed: Vec<String>,
    alive: Vec<String>,
    told: Vec<String>,
}

impl Wishes {
    fn take(&mut self, request: WatchRequest) -> Result<(), Refusal> {
        match request.action {
            None => {}
            Some(Action::Add(ids)) => {
                let (ids, absent) = wire::short_ids("add", ids)?;
                self.wanted.extend(ids.iter().cloned());
                self.added.extend(ids);
                self.absent.extend(absent);
            }
            Some(Action::Remove(ids)) => {
                for ticket_id in wire::short_ids("remove", ids)?.0 {
                    self.wanted.remove(&ticket_id);
                    self.removed.push(ticket_id);
                }
            }
            Some(Action::Alive(ids)) => self.alive.extend(wire::short_ids("alive", ids)?.0),
            Some(Action::Told(ids)) => self.told.extend(wire::short_ids("told", ids)?.0),
        }
        Ok(())
    }
}

/// What one stream follows.
pub(super) struct Watch {
    matcher: Arc<Matcher>,
    inbox: Inbox,
    /// The tickets that may still change.
    followed: HashSet<String>,
    told: Sender<Vec<String>>,
    recheck: Duration,
}

impl Watch {
    /// Serves `requests`; the replies come from what is returned.
    pub(super) fn start(
        matcher: Arc<Matcher>,
        requests: Streaming<WatchRequest>,
        recheck: Duration,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<WatchResponse, Status>> + Send + 'static {
        let (replies, queue) = mpsc::channel(QUEUE);
        let (told, outcomes) = mpsc::channel(TOLD);
        tasks.spawn(write_told(matcher.clone(), outcomes));
        let inbox = matcher.feed.inbox();
        let mut watch = Self { matcher, inbox, followed: HashSet::new(), told, recheck };
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = replies.closed() => {}
                end = watch.serve(requests, &replies) => if let Err(End::Failed(error)) = end {
                    let _ = replies.send(Err(error.into())).await;
                },
            }
        });
        ReceiverStream::new(queue)
    }

    async fn serve(
        &mut self,
        mut requests: Streaming<WatchRequest>,
        replies: &Replies,
    ) -> Result<(), End> {
        let mut recheck = tokio::time::interval_at(Instant::now() + self.recheck, self.recheck);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.act(request, &mut requests, replies).await?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                news = self.inbox.recv() => self.tell(news, replies).await?,
                _ = recheck.tick() => self.reread(replies).await?,
            }
        }
    }

    /// Does `first` and what has arrived with it.
    async fn act(
        &mut self,
        first: WatchRequest,
        requests: &mut Streaming<WatchRequest>,
        replies: &Replies,
    ) -> Result<(), End> {
        let mut wishes = Wishes::default();
        wishes.take(first)?;
        for _ in 1..TOGETHER {
            // A stream that ends here says so again when it is read next.
            let Some(Ok(Some(request))) = requests.message().now_or_never() else {
                break;
            };
            wishes.take(request)?;
        }
        let Wishes { mut added, mut wanted, absent, removed, alive, told } = wishes;
        removed.iter().for_each(|ticket_id| self.drop(ticket_id));
        self.matcher.proofs.note(alive).await;
        if !told.is_empty() {
            // The writer outlives the stream.
            self.told.send(told).await.map_err(|_| End::Gone)?;
        }
        added.retain(|ticket_id| wanted.remove(ticket_id));
        for page in added.chunks(PAGE) {
            self.add(page, replies).await?;
        }
        for ticket_id in absent {
            reply(replies, nobody(ticket_id)).await?;
        }
        Ok(())
    }

    /// Follows first, then reads, so that nothing falls between.
    async fn add(&mut self, ids: &[String], replies: &Replies) -> Result<(), End> {
        if self.followed.len() + ids.len() > MAX_FOLLOWED {
            return Err(Error::TooManyTickets.into());
        }
        for ticket_id in ids {
            self.inbox.follow(ticket_id);
            self.followed.insert(ticket_id.clone());
        }
        let mut found = self.read(ids).await?;
        for ticket_id in ids {
            let ticket = found.remove(ticket_id).unwrap_or_else(|| nobody(ticket_id.clone()));
            self.show(ticket, replies).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, news: News, replies: &Replies) -> Result<(), End> {
        for ticket in news.tickets.into_values() {
            if self.followed.contains(&ticket.ticket_id) && !waits(&ticket) {
                self.show(ticket, replies).await?;
            }
        }
        if news.gap { self.reread(replies).await } else { Ok(()) }
    }

    /// Reads what is followed and tells what has changed.
    async fn reread(&mut self, replies: &Replies) -> Result<(), End> {
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
    async fn show(&mut self, ticket: WireTicket, replies: &Replies) -> Result<(), End> {
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

/// Writes what owners were told, all that has come meanwhile at once, so that
/// no stream waits for a commit. What cannot be written is told once more.
async fn write_told(matcher: Arc<Matcher>, mut outcomes: Receiver<Vec<String>>) {
    let mut messages = Vec::with_capacity(TOLD);
    while outcomes.recv_many(&mut messages, TOLD).await > 0 {
        let ticket_ids: Vec<String> = messages.drain(..).flatten().collect();
        for page in ticket_ids.chunks(PAGE) {
            if let Err(error) = matcher.tickets.told(page.to_vec()).await {
                tracing::warn!(%error, tickets = page.len(), "not noted as told");
            }
        }
    }
}

async fn reply(replies: &Replies, ticket: WireTicket) -> Result<(), End> {
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
