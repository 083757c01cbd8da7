//! Which server is the primary: what the sentinels say, asked every second.
//!
//! Each is asked for itself, so that a silent one delays nobody. Of different
//! answers the one of the latest election (`config-epoch`) holds: a sentinel
//! that was cut off goes on naming the server of before. An earlier election
//! than the one that is followed counts only when most of all sentinels tell
//! of it: they were set up anew. While none answers the last answer holds, and
//! what is connected serves on.
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

use crate::backoff::Backoff;

/// Between two questions, and what one may take.
const EACH: Duration = Duration::from_secs(1);

/// Host and port.
pub(super) type Address = (String, u16);

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
    /// What is followed.
    held: Option<View>,
}

impl Views {
    fn elected(&self) -> Option<&View> {
        let held = self.held.as_ref();
        let key = |view: &&View| (view.epoch, Some(*view) == held);
        let latest = self.each.iter().flatten().max_by_key(key)?;
        let most = self.each.iter().flatten().count() * 2 > self.each.len();
        let is_later = held.is_none_or(|held| latest.epoch >= held.epoch);
        (is_later || most).then_some(latest)
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
        trouble.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::TimedOut).into())
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
        let connecting = timeout(EACH, client.get_multiplexed_async_connection());
        let mut connection = connecting.await.map_err(|_| silent())??;
        connection.set_response_timeout(EACH);
        let mut question = redis::cmd("SENTINEL");
        question.arg("MASTER").arg(&self.name);
        loop {
            let said: HashMap<String, String> = question.query_async(&mut connection).await?;
            self.told(at, Some(view(&said)?));
            sleep(EACH).await;
        }
    }

    fn told(&self, at: usize, view: Option<View>) {
        let mut views = self.views.lock();
        views.each[at] = view;
        let Some(view) = views.elected().cloned() else { return };
        self.primary.send_if_modified(|primary| {
            let moved = primary.as_ref() != Some(&view.address);
            if moved {
                let (host, port) = &view.address;
                info!(primary = self.name, host, port, "the sentinels name this server");
                *primary = Some(view.address.clone());
            }
            moved
        });
        views.held = Some(view);
    }
}

fn view(said: &HashMap<String, String>) -> RedisResult<View> {
    let read = || {
        let address = (said.get("ip")?.clone(), said.get("port")?.parse().ok()?);
        Some(View { epoch: said.get("config-epoch")?.parse().ok()?, address })
    };
    read().ok_or_else(|| (ErrorKind::Parse, "what a sentinel says cannot be read").into())
}

fn silent() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(epoch: u64, host: &str) -> Option<View> {
        Some(View { epoch, address: (host.to_owned(), 1) })
    }

    fn host(each: &[Option<View>], held: Option<View>) -> Option<String> {
        let views = Views { each: each.to_vec(), held };
        views.elected().map(|view| view.address.0.clone())
    }

    #[test]
    fn the_latest_election_holds_and_a_tie_changes_nothing() {
        assert_eq!(host(&[None, None], view(1, "a")), None);
        let cut_off = [view(1, "old"), None, view(2, "new")];
        assert_eq!(host(&cut_off, view(1, "old")).as_deref(), Some("new"));
        let tie = [view(2, "a"), view(2, "b"), view(1, "c")];
        for held in ["a", "b"] {
            assert_eq!(host(&tie, view(2, held)).as_deref(), Some(held));
        }
    }

    #[test]
    fn an_earlier_election_counts_only_when_most_tell_of_it() {
        let alone = [view(1, "old"), None, None];
        assert_eq!(host(&alone, view(2, "new")), None);
        let anew = [view(0, "a"), view(0, "a"), None];
        assert_eq!(host(&anew, view(2, "new")).as_deref(), Some("a"));
    }
}
