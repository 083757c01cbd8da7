//! What callers hold.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, aio::PubSub};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::{
    fault,
    fence::Generation,
    link::Link,
    manager::Manager,
    options::Options,
    place::{self, Place},
    script::{Arg, Call, Script, Stamp},
    slot::{FIRST, Slot},
};
use crate::{Error, ErrorKind, Result, clock::Clock};

/// Commands above this have a connection of their own, so that nobody waits
/// behind their bytes.
const LARGE: usize = 16 * 1024;
/// Runs in one pipeline. More are sent in several, one after the other.
const PIPELINE: usize = 256;

/// A server, reached through one connection for commands and one for values
/// over 16 KiB, both shared by all callers. Clones share them; one per process.
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
    place: Arc<Place>,
    prefix: String,
    commands: Arc<Slot>,
    values: Arc<Slot>,
    fence: watch::Receiver<Option<Generation>>,
    /// Ends the keepers when the last clone is gone.
    _keepers: DropGuard,
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
        let _keepers = stop.clone().drop_guard();
        let place = Arc::new(options.place(&stop).map_err(unusable)?);
        let commands = Arc::new(Slot::new("commands", options.timeout));
        let values = Arc::new(Slot::new("values", options.timeout));
        let slots = vec![commands.clone(), values.clone()];
        let Options { prefix, timeout, .. } = options;
        let manager = Manager::new(place.clone(), &prefix, timeout, slots.clone(), stop.clone());
        let fence = manager.fence();
        let pool = manager.pool();
        for slot in slots {
            tokio::spawn(slot.keep(pool.clone(), stop.clone()));
        }
        let first = Instant::now() + FIRST;
        // Without one the process begins all the same.
        let _ = tokio::join!(commands.link(first), values.link(first));
        let shared = Shared { place, prefix, commands, values, fence, _keepers };
        Ok(Self { shared: Arc::new(shared), timeout, clock: None })
    }

    /// `<prefix>mingle:{<tag>}:<rest>`: keys of one tag live in one slot of a
    /// cluster, so that one script may touch them.
    pub fn key(&self, tag: &str, rest: &str) -> String {
        key(&self.shared.prefix, tag, Some(rest))
    }

    /// One command and its answer. Executed late by a server that was frozen:
    /// only for what may be, or reads.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T> {
        let asked = async {
            let slot = self.slot(size(cmd));
            let (link, patience) = slot.lend(self.timeout).await?;
            read(ask(slot, &link, patience, cmd).await.map_err(fault::error)?)
        };
        counted("command", asked).await
    }

    /// Several commands in one round trip. One that the server refuses is the
    /// error of all, whatever became of the others.
    pub async fn pipeline<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T> {
        let asked = async {
            let slot = self.slot(pipe.cmd_iter().map(size).sum());
            let (link, patience) = slot.lend(self.timeout).await?;
            read(ask_all(slot, &link, patience, pipe).await.map_err(fault::error)?)
        };
        counted("pipeline", asked).await
    }

    /// Runs a script before the timeout or not at all.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[Arg],
    ) -> Result<T> {
        let deadline = Instant::now() + self.timeout;
        let slot = self.slot(Call::size(keys, args));
        let run = async {
            let link = slot.link(deadline).await?;
            let stamp = self.stamp(&link, deadline);
            let by_sha = script.by_sha(keys, args, &stamp);
            let mut answer = ask(slot, &link, until(deadline), &by_sha).await;
            if answer.as_ref().is_err_and(fault::is_no_script) {
                let by_text = script.by_text(keys, args, &stamp);
                answer = ask(slot, &link, until(deadline), &by_text).await;
            }
            read(answer.map_err(fault::error)?)
        };
        counted(script.name(), run.instrument(span(script))).await
    }

    /// Runs a script several times in one round trip per 256 calls, each run
    /// atomic by itself, with an answer for each in the order of the calls.
    ///
    /// **Errors**: when no answer came, for all of them; each may have run.
    pub async fn run_many<T: FromRedisValue>(
        &self,
        script: &Script,
        calls: &[Call],
    ) -> Result<Vec<Result<T>>> {
        let deadline = Instant::now() + self.timeout;
        let run = async {
            let mut answers = Vec::with_capacity(calls.len());
            for calls in calls.chunks(PIPELINE) {
                answers.extend(self.run_chunk(script, calls, deadline).await?);
            }
            Ok(answers)
        };
        counted(script.name(), run.instrument(span(script))).await
    }

    async fn run_chunk<T: FromRedisValue>(
        &self,
        script: &Script,
        calls: &[Call],
        deadline: Instant,
    ) -> Result<Vec<Result<T>>> {
        let slot = self.slot(calls.iter().map(|call| Call::size(&call.keys, &call.args)).sum());
        let link = slot.link(deadline).await?;
        let stamp = self.stamp(&link, deadline);
        let by_sha = |call: &Call| script.by_sha(&call.keys, &call.args, &stamp);
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for call in calls {
            pipe.add_command(by_sha(call));
        }
        let mut answers = ask_each(slot, &link, until(deadline), &pipe).await?;
        let unknown = |answer: &RedisResult<Value>| answer.as_ref().is_err_and(fault::is_no_script);
        if answers.iter().any(unknown) {
            let mut again = redis::pipe();
            again.ignore_errors().add_command(script.load());
            let missed = || (0..calls.len()).filter(|at| unknown(&answers[*at]));
            for at in missed() {
                again.add_command(by_sha(&calls[at]));
            }
            let missed: Vec<usize> = missed().collect();
            let loaded = ask_each(slot, &link, until(deadline), &again).await?;
            for (at, answer) in missed.into_iter().zip(loaded.into_iter().skip(1)) {
                answers[at] = answer;
            }
        }
        Ok(answers.into_iter().map(|answer| read(answer.map_err(fault::error)?)).collect())
    }

    /// The generation of the server's data: `None` before the first
    /// connection. A new one comes here before any call can read under it.
    pub fn fence(&self) -> watch::Receiver<Option<Generation>> {
        self.shared.fence.clone()
    }

    /// True when commands have a connection.
    pub fn is_connected(&self) -> bool {
        self.shared.commands.is_live()
    }

    /// Waits until commands have a connection. Cancel safe.
    pub async fn connected(&self) {
        self.shared.commands.live().await;
    }

    /// A connection of its own, for subscriptions, and what ends when it leads to
    /// the wrong server.
    pub(crate) async fn subscriber(
        &self,
    ) -> RedisResult<(PubSub, impl Future<Output = RedisError> + Send + use<>)> {
        let (client, moved) = self.shared.place.find().await?;
        let ends = async move {
            moved.moved().await;
            place::elsewhere()
        };
        Ok((client.get_async_pubsub().await?, ends))
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

    pub(super) fn place(&self) -> &Place {
        &self.shared.place
    }

    pub(super) fn patience(&self) -> Duration {
        self.timeout
    }

    fn slot(&self, size: usize) -> &Slot {
        if size > LARGE { &self.shared.values } else { &self.shared.commands }
    }

    fn stamp(&self, link: &Link, deadline: Instant) -> Stamp {
        Stamp {
            not_after_ms: link.not_after_ms(deadline),
            now_us: self.clock.as_ref().map(|clock| format!("{}000", clock.now_ms())),
        }
    }
}

fn span(script: &Script) -> tracing::Span {
    let span = tracing::debug_span!("redis.script", otel.name = tracing::field::Empty);
    if !span.is_disabled() {
        span.record("otel.name", format!("redis.script {}", script.name()));
    }
    span
}

/// Counts what `name` costs, and why it fails.
async fn counted<T>(name: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    let done = call.await;
    metrics::histogram!("mingle_redis_seconds", "script" => name).record(begun.elapsed());
    if let Err(error) = &done {
        let kind = error.kind().name();
        metrics::counter!("mingle_redis_failures_total", "kind" => kind).increment(1);
    }
    done
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

async fn ask(slot: &Slot, link: &Arc<Link>, patience: Duration, cmd: &Cmd) -> RedisResult<Value> {
    let answer = cmd.query_async(&mut link.patient(patience)).await;
    slot.judge(link, patience, &answer);
    answer
}

async fn ask_all(
    slot: &Slot,
    link: &Arc<Link>,
    patience: Duration,
    pipe: &Pipeline,
) -> RedisResult<Value> {
    let answer = pipe.query_async(&mut link.patient(patience)).await;
    slot.judge(link, patience, &answer);
    answer
}

/// An answer or a refusal for each command of a pipeline that ignores errors.
///
/// **Errors**: those of the call; `Corrupt` when there are more or fewer.
async fn ask_each(
    slot: &Slot,
    link: &Arc<Link>,
    patience: Duration,
    pipe: &Pipeline,
) -> Result<Vec<RedisResult<Value>>> {
    match ask_all(slot, link, patience, pipe).await.map_err(fault::error)? {
        Value::Array(answers) if answers.len() == pipe.cmd_iter().count() => Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Value::ServerError(error) => Err(RedisError::from(error)),
                answer => Ok(answer),
            })
            .collect()),
        _ => Err(Error::new(ErrorKind::Corrupt, "redis answer")),
    }
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T> {
    T::from_redis_value(answer)
        .map_err(|error| Error::with_source(ErrorKind::Corrupt, "redis answer", error))
}

/// Bytes that a command is going to be on the wire, about.
fn size(cmd: &Cmd) -> usize {
    cmd.args_iter()
        .map(|arg| match arg {
            redis::Arg::Simple(bytes) => bytes.len(),
            _ => 0,
        })
        .sum()
}

/// A key, or the tag alone.
pub(super) fn key(prefix: &str, tag: &str, rest: Option<&str>) -> String {
    match rest {
        Some(rest) => format!("{prefix}mingle:{{{tag}}}:{rest}"),
        None => format!("{prefix}mingle:{{{tag}}}"),
    }
}
