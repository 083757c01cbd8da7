//! One Watch stream: a task between the bus, the store and the client.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use mingle_proto::presence::v1::{self, watch_response::Event};
use mingle_store::bus::{Bus, Delivery};
use tokio::{
    sync::mpsc::{self, Permit},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    follow::{Followed, Next},
    topics,
};
use crate::{
    domain,
    error::Error,
    store::Store,
    wire::{self, Action},
};

/// Answers that wait for the client. Beyond, changes are merged per user.
const ANSWERS: usize = 64;
/// When users are read again of whom nothing is known: the store does not
/// answer, or the rest ended while they were told.
const SHORTLY: Duration = Duration::from_millis(250);

type Answer = Result<v1::WatchResponse, Status>;

/// Where a delivery came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Topic {
    Partition(u16),
    /// The followed node, by the count of the messages that named one.
    Node(u64),
}

/// `None` is the end of the topic.
type Heard = (Topic, Option<Delivery>);

/// Opens a stream. Its task ends when the client ends its requests and was told
/// what waits, or no longer reads.
pub(super) fn open(
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    max_users: usize,
    requests: Streaming<v1::WatchRequest>,
) -> impl Stream<Item = Answer> + use<> {
    let (answers, receiver) = mpsc::channel(ANSWERS);
    let watch = Watch {
        store,
        bus,
        followed: Followed::new(max_users),
        partitions: HashSet::new(),
        node: 0,
        heard: SelectAll::new(),
        again: None,
    };
    tokio::spawn(watch.run(requests, answers));
    ReceiverStream::new(receiver)
}

struct Watch {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    followed: Followed,
    /// Those subscribed to; they stay until the stream ends, 256 at most.
    partitions: HashSet<u16>,
    node: u64,
    heard: SelectAll<BoxStream<'static, Heard>>,
    /// When those of whom nothing could be told are read again.
    again: Option<Instant>,
}

impl Watch {
    async fn run(mut self, mut requests: Streaming<v1::WatchRequest>, out: mpsc::Sender<Answer>) {
        let mut asking = true;
        loop {
            let pending = self.followed.is_pending();
            if !asking && !pending && !self.followed.is_deferred() {
                return;
            }
            let done = tokio::select! {
                permit = out.reserve(), if pending => match permit {
                    Ok(permit) => self.tell(permit, &out).await,
                    Err(_) => return,
                },
                () = out.closed(), if !pending => return,
                request = requests.next(), if asking => match request {
                    Some(Ok(request)) => self.act(request).await,
                    Some(Err(_)) => return,
                    None => {
                        asking = false;
                        Ok(())
                    }
                },
                Some((topic, delivery)) = self.heard.next() => self.hear(topic, delivery),
                () = until(self.again), if self.again.is_some() => {
                    self.again = None;
                    self.followed.resume();
                    Ok(())
                }
            };
            if let Err(error) = done {
                // Only fails when the client is gone.
                let _ = out.send(Err(error.into())).await;
                return;
            }
        }
    }

    async fn act(&mut self, request: v1::WatchRequest) -> Result<(), Error> {
        match request.try_into()? {
            Action::Node(node_id) => {
                self.node += 1;
                let topic = topics::of_node(&node_id);
                self.subscribe(&topic, Topic::Node(self.node)).await?;
            }
            Action::Add(user_ids) => {
                for user_id in &user_ids {
                    // Subscribed before the state is read: nothing falls between.
                    self.follow_partition(domain::partition(user_id)).await?;
                    self.followed.add(user_id)?;
                }
            }
            Action::Remove(user_ids) => {
                user_ids.iter().for_each(|user_id| self.followed.remove(user_id));
            }
        }
        Ok(())
    }

    async fn follow_partition(&mut self, partition: u16) -> Result<(), Error> {
        if self.partitions.insert(partition) {
            let topic = topics::of_partition(partition);
            self.subscribe(&topic, Topic::Partition(partition)).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, topic: &str, source: Topic) -> Result<(), Error> {
        let subscription = self.bus.subscribe(topic).await?;
        let deliveries = stream::unfold(Some(subscription), move |subscription| async move {
            let mut subscription = subscription?;
            let delivery = subscription.recv().await;
            let rest = delivery.is_some().then_some(subscription);
            Some(((source, delivery), rest))
        });
        self.heard.push(deliveries.boxed());
        Ok(())
    }

    fn hear(&mut self, topic: Topic, delivery: Option<Delivery>) -> Result<(), Error> {
        let delivery = delivery.ok_or_else(|| {
            mingle_store::Error::new(mingle_store::ErrorKind::Unavailable, "presence bus")
        })?;
        match (topic, delivery) {
            // A node that is no longer followed.
            (Topic::Node(node), _) if node != self.node => {}
            (_, Delivery::Gap) => self.followed.missed(),
            (Topic::Partition(_), Delivery::Message(payload)) => match topics::users(&payload) {
                Some(users) => users.for_each(|user_id| self.followed.changed(user_id)),
                None => self.followed.missed(),
            },
            (Topic::Node(_), Delivery::Message(payload)) => match topics::superseded_of(&payload) {
                Some(lost) => self.followed.lose(lost),
                None => self.followed.missed(),
            },
        }
        Ok(())
    }

    /// Tells what is next. Users are read now, as many as there is room for.
    async fn tell(
        &mut self,
        first: Permit<'_, Answer>,
        out: &mpsc::Sender<Answer>,
    ) -> Result<(), Error> {
        let user_ids = match self.followed.next(1 + out.capacity()) {
            None => return Ok(()),
            Some(Next::Gap) => {
                first.send(answer(Event::Gap(v1::WatchGap {})));
                return Ok(());
            }
            Some(Next::Lost(lost)) => {
                first.send(answer(Event::Superseded(lost)));
                return Ok(());
            }
            Some(Next::Users(user_ids)) => user_ids,
        };
        let mut permit = Some(first);
        for presence in self.store.get_many(&user_ids).await? {
            if presence.is_in_doubt() {
                // No event: what was told before stands until it is known.
                self.followed.defer(&presence.user_id);
                let rests = self.store.rests().unwrap_or(SHORTLY);
                self.again.get_or_insert_with(|| Instant::now() + rests);
                continue;
            }
            if !self.followed.is_news(&presence) {
                continue;
            }
            // Only this task sends, so the room that was counted is there.
            let Some(room) = permit.take().or_else(|| out.try_reserve().ok()) else {
                break;
            };
            room.send(answer(Event::Presence(wire::presence(presence))));
        }
        Ok(())
    }
}

/// Never for `None`.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn answer(event: Event) -> Answer {
    Ok(v1::WatchResponse { event: Some(event) })
}
