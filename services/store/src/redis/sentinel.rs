//! Which server is the primary: what the sentinels say, asked every second.
//!
//! Each is asked for itself, so that a silent one delays nobody. Of different
//! answers the one of the latest election (`config-epoch`) holds: a sentinel
//! that was cut off goes on naming the server of before. An earlier election
//! than the one that is followed counts only when most of all sentinels tell
//! the same and none told of the later one for ten seconds: they were set up
//! anew. While none answers the last answer holds, and what is connected
//! serves on.
//!
//! **Source**: <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{Client, ErrorKind, RedisError, RedisResult};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{fault::silent, patient::Patient, place::Address};
use crate::backoff::Backoff;

/// Between two questions, and what one may take.
const EACH: Duration = Duration::from_secs(1);

/// An election of which no sentinel tells for so long is forgotten: each hears of
/// one within two seconds.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// What one sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    /// Of the election that made it so.
    epoch: u64,
    address: Address,
}

/// What all of them say.
#[derive(Debug)]
struct Views {
    each: Vec<Option<View>>,
    /// What is followed, and when a sentinel told of it last.
    held: Option<(View, Instant)>,
}

impl Views {
    /// What is to be followed, after one of them told something.
    fn elected(&self, now: Instant) -> Option<&View> {
        let held = self.held.as_ref().map(|(view, _)| view);
        let key = |view: &&View| (view.epoch, Some(*view) == held);
        let latest = self.each.iter().flatten().max_by_key(key)?;
        let Some((held, told)) = &self.held else { return Some(latest) };
        let same = self.each.iter().flatten().filter(|view| *view == latest).count();
        let anew = same * 2 > self.each.len() && now.duration_since(*told) >= FORGOTTEN;
        (latest.epoch >= held.epoch || anew).then_some(latest)
    }
}

/// Those who know the primary of a name.
pub(super) struct Sentinels {
    name: String,
    views: Mutex<Views>,
    primary: watch::Sender<Option<Address>>,
    /// Why the last one that was asked said nothing.
    trouble: Mutex<Option<RedisError>>,
}

impl Sentinels {
    /// Asks until `stop`.
    pub(super) fn ask(clients: Vec<Client>, name: String, stop: &CancellationToken) -> Arc<Self> {
        let views = Mutex::new(Views { each: vec![None; clients.len()], held: None });
        let (primary, trouble) = (watch::Sender::new(None), Mutex::default());
        let sentinels = Arc::new(Self { name, views, primary, trouble });
        for (at, client) in clients.into_iter().enumerate() {
            let asking = sentinels.clone().follow(at, client);
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(asking).await });
        }
        sentinels
    }

    /// The name of the primary.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The primary of now and of later: none before the first answer.
    pub(super) fn primary(&self) -> watch::Receiver<Option<Address>> {
        self.primary.subscribe()
    }

    /// Why no primary is known.
    pub(super) fn trouble(&self) -> RedisError {
        let trouble = self.trouble.lock().clone();
        trouble.unwrap_or_else(silent)
    }

    async fn follow(self: Arc<Self>, at: usize, client: Client) {
        let mut backoff = Backoff::new();
        let mut told = None;
        loop {
            let begin = Instant::now();
            let Err(error) = self.attend(at, &client).await;
            self.told(at, None);
            let text = error.to_string();
            if told.as_ref() != Some(&text) || begin.elapsed() > EACH * 10 {
                let server = client.get_connection_info().addr().to_string();
                warn!(server, primary = self.name, error = text, "a sentinel does not tell");
                told = Some(text);
            }
            *self.trouble.lock() = Some(error);
            sleep(backoff.after(begin.elapsed())).await;
        }
    }

    /// Asks on one connection, until it is lost or says nothing.
    async fn attend(&self, at: usize, client: &Client) -> RedisResult<Infallible> {
        let connecting = timeout(EACH, Patient::connect(client, EACH));
        let mut connection = connecting.await.map_err(|_| silent())??;
        // In this order: while a failover ends, only the second names the new server,
        // and the epoch of before beside it is outdone by the next answer.
        let mut both = redis::pipe();
        both.cmd("SENTINEL").arg("MASTER").arg(&self.name);
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        loop {
            let (said, address): (HashMap<String, String>, Address) =
                both.query_async(&mut connection).await?;
            let epoch = said.get("config-epoch").and_then(|epoch| epoch.parse().ok());
            let unread = || (ErrorKind::Parse, "what a sentinel says cannot be read");
            self.told(at, Some(View { epoch: epoch.ok_or_else(unread)?, address }));
            sleep(EACH).await;
        }
    }

    fn told(&self, at: usize, view: Option<View>) {
        let mut views = self.views.lock();
        views.each[at] = view;
        let now = Instant::now();
        let Some(view) = views.elected(now).cloned() else { return };
        self.primary.send_if_modified(|primary| {
            let moved = primary.as_ref() != Some(&view.address);
            if moved {
                let (host, port) = &view.address;
                info!(primary = self.name, host, port, "the sentinels name this server");
                *primary = Some(view.address.clone());
            }
            moved
        });
        views.held = Some((view, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(epoch: u64, host: &str) -> Option<View> {
        Some(View { epoch, address: (host.to_owned(), 1) })
    }

    /// Whom to follow when `held` was told of so long ago.
    fn host(each: &[Option<View>], held: Option<View>, ago: Duration) -> Option<String> {
        let now = Instant::now();
        let views = Views { each: each.to_vec(), held: held.map(|held| (held, now)) };
        views.elected(now + ago).map(|view| view.address.0.clone())
    }

    #[test]
    fn the_latest_election_holds_and_a_tie_changes_nothing() {
        let just_now = |each: &[Option<View>], held| host(each, held, Duration::ZERO);
        assert_eq!(just_now(&[None, None], view(1, "a")), None);
        let cut_off = [view(1, "old"), None, view(2, "new")];
        assert_eq!(just_now(&cut_off, view(1, "old")).as_deref(), Some("new"));
        let tie = [view(2, "a"), view(2, "b"), view(1, "c")];
        for held in ["a", "b"] {
            assert_eq!(just_now(&tie, view(2, held)).as_deref(), Some(held));
        }
    }

    #[test]
    fn an_earlier_election_counts_only_when_the_later_one_is_forgotten() {
        let (alone, most) = ([view(1, "old"), None, None], [view(1, "old"), view(1, "old"), None]);
        for (each, ago, follows) in [
            (&alone, FORGOTTEN, None),
            (&most, FORGOTTEN / 2, None),
            (&[view(0, "a"), view(1, "b"), None], FORGOTTEN, None),
            (&most, FORGOTTEN, Some("old")),
        ] {
            assert_eq!(host(each, view(2, "new"), ago).as_deref(), follows, "{each:?} {ago:?}");
        }
    }
}
