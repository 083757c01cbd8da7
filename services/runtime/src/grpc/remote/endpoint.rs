//! One instance: its connection, and whether it is worth calling.

use std::{
    error::Error as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use http::{HeaderMap, Uri};
use mingle_proto::errors::v1::Reason;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::{Channel, channel};
use tower::{Service as _, ServiceExt as _};

use super::{Request, Response, is_unavailable};
use crate::{
    grpc::{CONNECTION_WINDOW, deadline, degraded::DEGRADED},
    status::{self, Kind},
};

const CONNECT: Duration = Duration::from_secs(1);
/// A connection that does not answer is found out within the sum of both: half of
/// what a call waits that says nothing else, so that there is time for another
/// instance.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Unread on one stream.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// How long a failing instance is left alone.
const EJECTION: Duration = Duration::from_secs(5);
/// How long an instance is passed over whose answer was marked as degraded: less
/// than a role is remembered as such, which one of two must not make flicker.
const PASSED_OVER: Duration = Duration::from_secs(2);
/// Answers in a row that say UNAVAILABLE, or never come.
const TOLERANCE: u32 = 3;

/// See the module. Calls share its one connection.
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    channel: Channel,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    ejected_until: Option<Instant>,
    marked_until: Option<Instant>,
}

impl Endpoint {
    pub(super) fn new(uri: Uri) -> Self {
        let channel = channel::Endpoint::from(uri.clone())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_lazy();
        Self { uri, channel, health: Mutex::default() }
    }

    /// True while it is left alone.
    pub(super) fn is_ejected(&self) -> bool {
        let until = self.health.lock().ejected_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// True for a while after an answer that was marked as degraded.
    pub(super) fn is_marked(&self) -> bool {
        let until = self.health.lock().marked_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes note of how a call of it ended.
    pub(super) fn look(&self, trailers: &HeaderMap) {
        if trailers.contains_key(DEGRADED) {
            self.health.lock().marked_until = Some(Instant::now() + PASSED_OVER);
        }
    }

    /// Its place in the order of preference for `key`: the highest first
    /// (rendezvous hashing, Thaler and Ravishankar 1998).
    pub(super) fn weight(&self, key: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (key, self.uri.authority().map(http::uri::Authority::as_str)).hash(&mut hasher);
        hasher.finish()
    }

    /// Calls it; `None` when it cannot be reached. Whoever gives up at the
    /// deadline of the call leaves a failure behind; whoever does before says
    /// nothing about it.
    pub(super) async fn call(&self, request: Request) -> Option<Response> {
        let due = deadline::timeout(request.headers()).map(|timeout| Instant::now() + timeout);
        let mut pending = Pending { endpoint: self, due, verdict: None };
        let mut channel = self.channel.clone();
        let answer = match channel.ready().await {
            Ok(channel) => channel.call(request).await,
            Err(error) => Err(error),
        };
        let (answer, verdict) = match answer {
            Ok(answer) if is_unavailable(Some(&answer)) => (Some(answer), Verdict::Failed),
            Ok(answer) => (Some(answer), Verdict::Well),
            // The deadline has passed: there is no time for another instance.
            Err(error) if is_timeout(&error) => {
                let message = "no answer by the deadline; the outcome is unknown";
                let status = status::refuse(Kind::Timeout, Reason::Deadline, message);
                (Some(status.into_http()), Verdict::Failed)
            }
            Err(error) => {
                let cause = error.source().map(ToString::to_string);
                tracing::debug!(peer = %self.uri, %error, cause, "peer not reached");
                (None, Verdict::Unreachable)
            }
        };
        pending.verdict = Some(verdict);
        answer
    }

    fn judge(&self, verdict: Verdict) {
        let mut health = self.health.lock();
        health.failures = match verdict {
            Verdict::Well => 0,
            Verdict::Failed => health.failures + 1,
            Verdict::Unreachable => TOLERANCE,
        };
        if health.failures >= TOLERANCE {
            health.failures = 0;
            health.ejected_until = Some(Instant::now() + EJECTION);
            drop(health);
            tracing::info!(peer = %self.uri, "peer ejected for a while");
        }
    }
}

fn is_timeout(error: &tonic::transport::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[derive(Clone, Copy)]
enum Verdict {
    Well,
    Failed,
    Unreachable,
}

/// Judges when it is dropped, so that a call that was never answered counts.
struct Pending<'a> {
    endpoint: &'a Endpoint,
    due: Option<Instant>,
    verdict: Option<Verdict>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let is_over = self.due.is_some_and(|due| due <= Instant::now());
        let given_up = is_over.then_some(Verdict::Failed);
        if let Some(verdict) = self.verdict.or(given_up) {
            self.endpoint.judge(verdict);
        }
    }
}
