//! What callers hold.

use std::{
    fmt::{Display, Write as _},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use redis::{Client, Cmd, FromRedisValue, RedisError, RedisResult, Value, aio::PubSub};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::{
    ask::{Ask, Asker},
    batch::Batch,
    cluster::{self, Cluster},
    fence::{Fence, Generation},
    manager::Of,
    node::Node,
    options::{Located, Options, Terms},
    place,
    script::{Arg, Call, Script},
    servers::Servers,
    took::Took,
};
use crate::{Error, ErrorKind, Result, clock::Clock};

/// A server, or a cluster of them: each reached through one connection for commands
/// and one for values over 16 KiB, both shared by all callers. Clones share them;
/// one per process.
///
/// Calls never wait for a connection and never outlast the timeout; see the
/// module for what their failures mean.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
}

struct Shared {
    servers: Servers,
    prefix: String,
    fence: watch::Receiver<Option<Generation>>,
    /// Ends what asks sentinels when the last clone is gone.
    _asking: DropGuard,
}

impl Redis {
    /// Begins to connect, and returns when there is a connection, when the first
    /// attempt at one has failed, or after a second; that the server is away is
    /// no error, the connections are there when it comes. After `stop` lost connections are
    /// not replaced; those that are there serve on.
    ///
    /// **Errors**: Unsupported with [`OptionsError`](super::OptionsError) as
    /// source when the URL or a file cannot be used.
    pub async fn start(options: Options, stop: CancellationToken) -> Result<Self> {
        // Whoever came first has installed one, and there is but one to install.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |error| Error::with_source(ErrorKind::Unsupported, "redis options", error);
        let stop = stop.child_token();
        let _asking = stop.clone().drop_guard();
        let located = options.place(&stop).map_err(unusable)?;
        let Options { prefix, timeout, may_forget, .. } = options;
        let terms = Terms { timeout, may_forget };
        let (servers, fence) = match located {
            Located::Server(place) => {
                let place = Arc::new(place);
                let fence = Arc::new(Fence::new(&prefix, place.name()));
                let of = Of::Itself(fence.clone());
                let node = Node::start(place.clone(), of, terms, &stop);
                node.begun().await;
                (Servers::One(node.into(), place), fence.watch())
            }
            Located::Cluster { seeds, server } => {
                let prefix = prefix.clone();
                let start = cluster::Start { seeds, server, prefix, terms, stop };
                let cluster = Cluster::start(start);
                cluster.begun().await;
                let fence = cluster.fence().watch();
                (Servers::Cluster(cluster), fence)
            }
        };
        let shared = Shared { servers, prefix, fence, _asking };
        Ok(Self { shared: Arc::new(shared), timeout, clock: None })
    }

    /// `<prefix>mingle:{<tag>}:<rest>`: keys of one tag live in one slot of a
    /// cluster, so that one script may touch them.
    pub fn key(&self, tag: impl Display, rest: impl Display) -> String {
        key(&self.shared.prefix, format_args!("{{{tag}}}:{rest}"))
    }

    /// One command and its answer. Its first argument is its key. Executed late by
    /// a server that was frozen: only for what may be, or reads.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T> {
        let asker = self.asker();
        let answer = asker.one(Ask::Command(cmd)).await.and_then(read);
        counted(&COMMAND, asker.begun, answer)
    }

    /// Several commands in one round trip, or, in a cluster, one to each server that has
    /// any of the keys. One that is refused is the error of all, whatever became of
    /// the others.
    pub async fn pipeline<T: FromRedisValue>(&self, batch: &Batch) -> Result<T> {
        let asker = self.asker();
        let asks: Vec<_> = batch.commands().iter().map(Ask::Command).collect();
        let answers = asker.many(&asks).await;
        let answers = answers.and_then(|answers| answers.into_iter().collect::<Result<_>>());
        let read = answers.and_then(|answers| read(Value::Array(batch.wanted(answers))));
        counted(&PIPELINE, asker.begun, read)
    }

    /// Runs a script before the timeout or not at all.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[Arg],
    ) -> Result<T> {
        let asker = self.asker();
        let run = asker.one(Ask::Script(script, keys, args)).instrument(span(script));
        let answer = run.await.and_then(read);
        counted(script.took(), asker.begun, answer)
    }

    /// Runs a script several times in one round trip per 256 calls, or, in a
    /// cluster, to each server; each run atomic by itself, with an answer for each in
    /// the order of the calls.
    ///
    /// **Errors**: when no answer came, for all of them; each may have run.
    pub async fn run_many<T: FromRedisValue>(
        &self,
        script: &Script,
        calls: &[Call],
    ) -> Result<Vec<Result<T>>> {
        let asker = self.asker();
        let asks = calls.iter().map(|call| Ask::Script(script, &call.keys, &call.args));
        let asks: Vec<_> = asks.collect();
        let answers = asker.many(&asks).instrument(span(script)).await;
        let each = |answers: Vec<Result<_>>| answers.into_iter().map(|it| it.and_then(read));
        counted(script.took(), asker.begun, answers.map(|answers| each(answers).collect()))
    }

    /// The generation of the server's data: `None` before the first
    /// connection. A new one comes here before any call can read under it.
    pub fn fence(&self) -> watch::Receiver<Option<Generation>> {
        self.shared.fence.clone()
    }

    /// True when commands have a connection, in a cluster to each server that has
    /// slots, and each slot is had by one.
    pub fn is_connected(&self) -> bool {
        self.shared.servers.are_live()
    }

    /// Waits until that is true. Cancel safe.
    pub async fn connected(&self) {
        self.shared.servers.live().await;
    }

    /// A connection of its own, for subscriptions, and what ends when it leads to
    /// the wrong server.
    pub(crate) async fn subscriber(
        &self,
    ) -> RedisResult<(PubSub, impl Future<Output = RedisError> + Send + use<>)> {
        let (client, left) = self.find().await?;
        let ends = async move {
            left.await;
            place::elsewhere()
        };
        Ok((client.get_async_pubsub().await?, ends))
    }

    /// A server that answers, and what ends when it is the wrong one.
    pub(super) async fn find(&self) -> RedisResult<(Client, BoxFuture<'static, ()>)> {
        Ok(match &self.shared.servers {
            Servers::One(_, place) => {
                let (client, moved) = place.find().await?;
                (client, async move { moved.moved().await }.boxed())
            }
            Servers::Cluster(cluster) => {
                // To be asked once: what listens to a cluster listens to each of its servers.
                (cluster.find().await?, std::future::pending().boxed())
            }
        })
    }

    /// The same server; scripts take their time from `clock` instead of the
    /// server's. Deadlines stay the server's. For tests.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The same server; calls may take this long.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same server; calls may take so much longer.
    #[must_use]
    pub fn with_longer(self, by: Duration) -> Self {
        Self { timeout: self.timeout + by, ..self }
    }

    /// Where the URL names a cluster.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &self.shared.servers {
            Servers::One(..) => None,
            Servers::Cluster(cluster) => Some(cluster),
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.timeout
    }

    fn asker(&self) -> Asker<'_> {
        let (servers, begun) = (&self.shared.servers, Instant::now());
        Asker { servers, begun, timeout: self.timeout, clock: self.clock.as_ref() }
    }
}

fn span(script: &Script) -> tracing::Span {
    let span = tracing::debug_span!("redis.script", otel.name = tracing::field::Empty);
    if !span.is_disabled() {
        span.record("otel.name", format!("redis.script {}", script.name()));
    }
    span
}

static COMMAND: Took = Took::new("command");
static PIPELINE: Took = Took::new("pipeline");

/// Records how long a call took, and why it failed.
fn counted<T>(took: &Took, begun: Instant, done: Result<T>) -> Result<T> {
    took.record(begun.elapsed());
    if let Err(error) = &done {
        let kind = error.kind().name();
        metrics::counter!("mingle_redis_failures_total", "kind" => kind).increment(1);
    }
    done
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T> {
    T::from_redis_value(answer)
        .map_err(|error| Error::with_source(ErrorKind::Corrupt, "redis answer", error))
}

/// Of most keys, beside the prefix: their text is not moved while it is written.
const KEY_BYTES: usize = 64;

/// `<prefix>mingle:<name>`.
pub(super) fn key(prefix: &str, name: impl Display) -> String {
    let mut key = String::with_capacity(prefix.len() + KEY_BYTES);
    key.push_str(prefix);
    key.push_str("mingle:");
    // A String takes whatever is written.
    let _ = write!(key, "{name}");
    key
}
