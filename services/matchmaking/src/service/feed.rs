//! Announces what became of tickets, to whichever process follows them.
//!
//! Topics are 256 fixed user partitions, never one per user. A follower's
//! mailbox holds at most the latest news of each ticket it follows, so it
//! cannot overflow; a gap of the bus tells every follower to read the rows.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use dashmap::{DashMap, Entry};
use futures::{
    Stream, StreamExt as _,
    future::try_join_all,
    stream::{select_all, unfold},
};
use mingle_proto::matchmaking::v1::Ticket as WireTicket;
use mingle_store::{
    Result,
    bus::{Announcement, Bus, Delivery, Subscription},
};
use parking_lot::Mutex;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{domain::Ticket, wire};

/// The topic of one user's partition; the same in every process.
fn topic(user_id: &str) -> String {
    partition(Sha256::digest(user_id)[0])
}

fn partition(number: u8) -> String {
    format!("mm:user:{number}")
}

/// The followers of this process.
pub struct Feed {
    bus: Arc<dyn Bus>,
    followers: DashMap<String, Vec<Arc<Mailbox>>>,
}

impl Feed {
    /// Follows every partition until `stop`.
    pub async fn start(
        bus: Arc<dyn Bus>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>> {
        let topics: Vec<String> = (0..=u8::MAX).map(partition).collect();
        // Together: where a source is away, each waits for it a while.
        let partitions = try_join_all(topics.iter().map(|topic| bus.subscribe(topic))).await?;
        let partitions: Vec<_> =
            partitions.into_iter().map(|partition| Box::pin(deliveries(partition))).collect();
        let feed = Arc::new(Self { bus, followers: DashMap::new() });
        let mut deliveries = select_all(partitions);
        let reader = feed.clone();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    next = deliveries.next() => match next {
                        Some(delivery) => reader.deliver(delivery),
                        None => return tracing::error!("the bus is gone, followers read the rows"),
                    },
                }
            }
        });
        Ok(feed)
    }

    /// Tells whoever follows `ticket`. A failure is no error: followers read
    /// the rows now and then.
    pub async fn announce(&self, ticket: &Ticket) {
        let payload = wire::settled(ticket).encode_to_vec();
        let announcement = Announcement::new(topic(&ticket.user_id), payload);
        if let Err(error) = self.bus.publish(&[announcement]).await {
            tracing::warn!(%error, ticket.id = ticket.ticket_id, "not announced");
        }
    }

    /// A mailbox that follows nothing yet.
    pub fn inbox(self: &Arc<Self>) -> Inbox {
        Inbox { feed: self.clone(), mailbox: Arc::default(), followed: HashSet::new() }
    }

    fn deliver(&self, delivery: Delivery) {
        match delivery {
            Delivery::Message(payload) => match WireTicket::decode(payload) {
                Ok(ticket) => {
                    if let Some(followers) = self.followers.get(&ticket.ticket_id) {
                        followers.iter().for_each(|mailbox| mailbox.put(&ticket));
                    }
                }
                Err(error) => tracing::warn!(%error, "an announcement cannot be read"),
            },
            Delivery::Gap => {
                for followers in &self.followers {
                    followers.iter().for_each(|mailbox| mailbox.gap());
                }
            }
        }
    }
}

fn deliveries(subscription: Subscription) -> impl Stream<Item = Delivery> {
    unfold(subscription, |mut subscription| async move {
        subscription.recv().await.map(|delivery| (delivery, subscription))
    })
}

/// What a follower has not seen yet.
#[derive(Debug, Default)]
pub struct News {
    /// The latest of each ticket.
    pub tickets: HashMap<String, WireTicket>,
    /// Something may be missing: read the rows.
    pub gap: bool,
}

#[derive(Default)]
struct Mailbox {
    news: Mutex<News>,
    arrived: Notify,
}

impl Mailbox {
    fn put(&self, ticket: &WireTicket) {
        self.news.lock().tickets.insert(ticket.ticket_id.clone(), ticket.clone());
        self.arrived.notify_one();
    }

    fn gap(&self) {
        self.news.lock().gap = true;
        self.arrived.notify_one();
    }
}

/// The receiving end. Dropped, it follows nothing.
pub struct Inbox {
    feed: Arc<Feed>,
    mailbox: Arc<Mailbox>,
    followed: HashSet<String>,
}

impl Inbox {
    /// Follows a ticket: what is announced after this is received.
    pub fn follow(&mut self, ticket_id: &str) {
        if self.followed.insert(ticket_id.to_owned()) {
            let mailbox = self.mailbox.clone();
            self.feed.followers.entry(ticket_id.to_owned()).or_default().push(mailbox);
        }
    }

    /// No longer follows a ticket, and forgets its news.
    pub fn unfollow(&mut self, ticket_id: &str) {
        if self.followed.remove(ticket_id) {
            self.leave(ticket_id);
            self.mailbox.news.lock().tickets.remove(ticket_id);
        }
    }

    /// Waits for news. Cancel safe: what is not returned stays.
    pub async fn recv(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.mailbox.news.lock());
            if news.gap || !news.tickets.is_empty() {
                return news;
            }
            self.mailbox.arrived.notified().await;
        }
    }

    fn leave(&self, ticket_id: &str) {
        if let Entry::Occupied(mut entry) = self.feed.followers.entry(ticket_id.to_owned()) {
            entry.get_mut().retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.followed.iter().for_each(|ticket_id| self.leave(ticket_id));
    }
}
