//! Sharded pub/sub of a cluster: one listening connection to each of its servers.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | a listening connection is lost, or nothing is heard on it for the bound | the source counts as lost, the other connections hear on; reconnect, subscribe again, then one gap for every topic |
//! | a replica takes a server's place | the same, there |
//! | a slot moves | its channels are asked of the next server, and each has a gap when that confirms; the one before takes them away by itself |
//! | a slot is had by nobody | the source counts as lost until somebody has it |
//! | a server refuses a channel: it has not its slot, or not yet | who has it is looked up, and asked again |
//! | it refuses it otherwise: the user may not | as a connection that is lost, and a line in the log |
//! | a publish is sent elsewhere | it goes there, once |
//!
//! A subscription of several slots in one command is refused by the servers, and
//! this is how the client library subscribes again: so it is not left to it.

mod line;
mod partitions;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use redis::RedisResult;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::line::{Line, News, topic_of};
use super::{
    BEAT, TOPIC, closed, lost, silent,
    wanted::{Difference, Wanted},
};
use crate::{
    Error,
    backoff::Backoff,
    bus::ear::Ear,
    redis::{
        Redis,
        cluster::{Address, Cluster, Owners},
        fault,
    },
};

/// Between two looks at what is missing.
const LOOK: Duration = Duration::from_millis(100);

/// Where to publish on a topic.
pub(super) fn channel(redis: &Redis, topic: &str) -> String {
    redis.key(&partitions::of(topic).tag, format_args!("{TOPIC}{topic}"))
}

/// Where to beat, so that each server is heard: once on each of them.
pub(super) fn beats(redis: &Redis, cluster: &Cluster) -> Vec<String> {
    let owners = cluster.owners();
    let mut beaten = HashSet::new();
    let first_of_each = partitions::all().iter().filter(|partition| {
        // A slot that nobody has must be missed.
        owners.of(partition.slot).is_none_or(|owner| beaten.insert(owner))
    });
    first_of_each.map(|partition| redis.key(&partition.tag, BEAT)).collect()
}

type Connecting = FuturesUnordered<BoxFuture<'static, (Address, RedisResult<Line>)>>;

/// The attempts at one server.
#[derive(Default)]
struct Trial {
    backoff: Backoff,
    /// When the last one began.
    begun: Option<Instant>,
    is_running: bool,
}

/// The listening side.
pub(super) struct Listener {
    redis: Redis,
    cluster: Arc<Cluster>,
    ear: Arc<Ear>,
    wanted: Arc<Wanted>,
    owners: Owners,
    lines: HashMap<Address, Line>,
    trials: HashMap<Address, Trial>,
    connecting: Connecting,
    /// How many lines there were.
    so_far: u64,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    topics: HashSet<String>,
    /// Whom each channel was asked of.
    asked: HashMap<String, Address>,
    /// Not all is asked of whom it could be.
    is_untidy: bool,
    /// A server is not connected to, or slots are had by nobody.
    is_torn: bool,
    is_open: bool,
    /// Why it is not open, as the log was told.
    told: Option<String>,
}

impl Listener {
    pub(super) fn new(
        redis: &Redis,
        cluster: &Arc<Cluster>,
        ear: Arc<Ear>,
        wanted: Arc<Wanted>,
    ) -> Self {
        Self {
            redis: redis.clone(),
            cluster: cluster.clone(),
            ear,
            wanted,
            owners: cluster.owners(),
            lines: HashMap::new(),
            trials: HashMap::new(),
            connecting: FuturesUnordered::new(),
            so_far: 0,
            news: mpsc::unbounded_channel(),
            topics: HashSet::new(),
            asked: HashMap::new(),
            is_untidy: true,
            is_torn: true,
            is_open: false,
            told: None,
        }
    }

    /// Listens until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.topics = self.wanted.begin().into_iter().collect();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (changes, mut owners) = (self.wanted.changes.clone(), self.owners.clone());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some((address, line)) = self.connecting.next() => self.connected(address, line),
                Some(news) = self.news.1.recv() => self.take(news),
                () = changes.next() => self.change(),
                () = owners.changed() => self.is_untidy = true,
                _ = looks.tick() => self.look(),
            }
        }
    }

    /// Gives up who is silent, asks for what is not asked for, and says when all is
    /// heard.
    fn look(&mut self) {
        let bound = self.ear.lost_after();
        let silences = self.lines.iter().filter(|(_, line)| line.heard_at().elapsed() >= bound);
        let silences: Vec<_> = silences.map(|(address, _)| address.clone()).collect();
        let owners = if silences.is_empty() { HashSet::new() } else { self.servers() };
        for address in silences {
            if owners.contains(&Some(address.clone())) {
                self.lose(&address, &silent());
            } else {
                // It has no slots any more, and has said all that it had.
                self.forget(&address);
            }
        }
        if self.is_untidy || self.is_torn {
            self.mend();
        }
        if std::mem::take(&mut self.is_untidy) {
            self.tidy();
        }
        let is_whole = !self.is_torn && self.lines.values().all(|line| line.awaited.is_empty());
        if is_whole && !self.is_open {
            (self.is_open, self.told) = (true, None);
            self.ear.open();
        }
    }

    /// Who has a partition: `None` among them when nobody has one.
    fn servers(&self) -> HashSet<Option<Address>> {
        partitions::all().iter().map(|partition| self.owners.of(partition.slot)).collect()
    }

    /// Connects to the servers that have slots. Who has none any more is heard until it
    /// falls silent: it may know that last.
    fn mend(&mut self) {
        let owners = self.servers();
        self.trials.retain(|address, _| owners.contains(&Some(address.clone())));
        self.is_torn = false;
        for owner in owners {
            match owner {
                Some(owner) if self.lines.contains_key(&owner) => {}
                Some(owner) => {
                    self.is_torn = true;
                    self.connect(owner);
                }
                None => self.is_torn = true,
            }
        }
        if self.is_torn {
            self.shut(&fault::away());
        }
    }

    /// Asks each channel of the server that has its slot.
    fn tidy(&mut self) {
        let beats = partitions::all().iter().map(|of| (self.redis.key(&of.tag, BEAT), of.slot));
        let topics = self.topics.iter().map(|topic| self.place(topic));
        let channels: Vec<_> = beats.chain(topics).collect();
        self.ask(channels);
        if !self.is_open {
            // What is wanted from now on is for its own subscriber to wait for.
            self.lines.values_mut().for_each(|line| line.awaited.clone_from(&line.owed));
        }
    }

    /// Asks for channels of those who have their slots, as far as they are connected to:
    /// the rest is asked for when they are.
    fn ask(&mut self, channels: Vec<(String, u16)>) {
        let mut added: HashMap<Address, Vec<String>> = HashMap::new();
        for (channel, slot) in channels {
            let owner = self.owners.of(slot).filter(|owner| self.lines.contains_key(owner));
            if self.asked.get(&channel) == owner.as_ref() {
                continue;
            }
            self.unconfirm(&channel);
            // Who was asked before takes it away with the slot, and until then somebody may
            // publish it there.
            if let Some(before) = self.asked.remove(&channel)
                && let Some(line) = self.lines.get_mut(&before)
            {
                line.settle(&channel);
            }
            if let Some(owner) = owner {
                self.asked.insert(channel.clone(), owner.clone());
                added.entry(owner).or_default().push(channel);
            }
        }
        for (address, channels) in added {
            if let Some(line) = self.lines.get_mut(&address) {
                line.subscribe(channels);
            }
        }
    }

    /// Topics whose first subscriber came here, or whose last one left.
    fn change(&mut self) {
        let Difference { added, removed } = self.wanted.difference();
        for topic in removed {
            let (channel, _) = self.place(&topic);
            self.topics.remove(&topic);
            let address = self.asked.remove(&channel);
            if let Some(line) = address.and_then(|address| self.lines.get_mut(&address)) {
                line.unsubscribe(vec![channel]);
            }
        }
        self.ask(added.iter().map(|topic| self.place(topic)).collect());
        self.topics.extend(added);
    }

    fn take(&mut self, news: News) {
        let (News::Told(number, _)
        | News::Untold(number, _)
        | News::Refused(number, _)
        | News::Closed(number)) = news;
        let of_number = self.lines.iter_mut().find(|(_, line)| line.number == number);
        // Of one that was given up.
        let Some((address, line)) = of_number else { return };
        let address = address.clone();
        match news {
            News::Told(_, channel) => {
                line.settle(&channel);
                if self.asked.get(&channel) == Some(&address)
                    && let Some(topic) = topic_of(&channel)
                {
                    self.wanted.confirm(&[topic.to_owned()]);
                }
            }
            News::Untold(_, channel) => {
                // Else it was asked for.
                if self.asked.get(&channel) == Some(&address) {
                    self.stray(&[channel]);
                }
            }
            News::Refused(_, error) if fault::sends_elsewhere(&error) => {
                let owed: Vec<_> = line.owed.drain().collect();
                line.awaited.clear();
                self.stray(&owed);
            }
            News::Refused(_, error) => self.lose(&address, &lost(error)),
            News::Closed(_) => self.lose(&address, &lost(closed())),
        }
    }

    /// Whoever these were asked of has not got them: the next look asks anew.
    fn stray(&mut self, channels: &[String]) {
        for channel in channels {
            self.asked.remove(channel);
            self.unconfirm(channel);
        }
        self.is_untidy = true;
        self.cluster.look_anew();
    }

    fn connect(&mut self, address: Address) {
        let trial = self.trials.entry(address.clone()).or_default();
        if std::mem::replace(&mut trial.is_running, true) {
            return;
        }
        let last = trial.begun.replace(Instant::now());
        let pause = last.map_or(Duration::ZERO, |last| trial.backoff.after(last.elapsed()));
        self.so_far += 1;
        let (number, bound) = (self.so_far, self.ear.lost_after());
        let (ear, news) = (self.ear.clone(), self.news.0.clone());
        let client = self.cluster.listener(&address);
        let opening = async move {
            sleep(pause).await;
            let opening = async { Line::open(&client?, number, ear, news).await };
            let line = timeout(bound, opening).await;
            (address, line.unwrap_or_else(|_| Err(fault::silent())))
        };
        self.connecting.push(opening.boxed());
    }

    fn connected(&mut self, address: Address, line: RedisResult<Line>) {
        if let Some(trial) = self.trials.get_mut(&address) {
            trial.is_running = false;
        }
        match line {
            Ok(line) => {
                // One that has its channels by now is kept.
                self.lines.entry(address).or_insert(line);
                self.is_untidy = true;
            }
            Err(error) => self.shut(&lost(error)),
        }
    }

    fn lose(&mut self, address: &Address, why: &Error) {
        self.forget(address);
        self.is_torn = true;
        self.shut(why);
        self.cluster.look_anew();
    }

    /// What was asked there is asked nowhere.
    fn forget(&mut self, address: &Address) {
        self.lines.remove(address);
        let (of, others) =
            std::mem::take(&mut self.asked).into_iter().partition(|(_, at)| at == address);
        self.asked = others;
        let of: HashMap<_, _> = of;
        of.keys().for_each(|channel| self.unconfirm(channel));
    }

    fn shut(&mut self, why: &Error) {
        self.is_open = false;
        self.ear.shut(why);
        let cause = std::error::Error::source(why).map(ToString::to_string);
        // Of those that follow one another each once: it may be that it never gets better.
        if cause.is_some() && self.told != cause {
            tracing::warn!(bus.source = "redis", cause, "a server of the cluster is not heard");
            self.told = cause;
        }
    }

    fn unconfirm(&self, channel: &str) {
        if let Some(topic) = topic_of(channel) {
            self.wanted.unconfirm(topic);
        }
    }

    /// The channel of a topic, and its slot.
    fn place(&self, topic: &str) -> (String, u16) {
        (channel(&self.redis, topic), partitions::of(topic).slot)
    }
}
