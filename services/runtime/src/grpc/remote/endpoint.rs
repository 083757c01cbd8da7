//! One instance: its connection, and whether it is worth calling.

use std::{
    error::Error as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Weak},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::BodyExt as _;
use mingle_proto::errors::v1::Reason;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::{runtime::Handle, time::Instant};
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, channel},
};
use tower::{Service as _, ServiceExt as _};

use super::{
    Request, Response,
    group::Group,
    instance::Instance,
    is_unavailable, question,
    trust::{Change, PAUSE, Trust, Verdict},
};
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
/// How long an instance is passed over whose answer was marked as degraded: less
/// than a role is remembered as such, which one of two must not make flicker.
const PASSED_OVER: Duration = Duration::from_secs(2);
/// See the module. Calls share its one connection.
pub(super) struct Endpoint {
    group: Arc<Group>,
    pub(super) uri: Uri,
    channel: Channel,
    /// Where it is asked whether it is well.
    runtime: Handle,
    trust: Mutex<Trust>,
    marked_until: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// Must be called where tasks can be spawned.
    pub(super) fn new(group: Arc<Group>, uri: Uri) -> Self {
        let channel = channel(uri.clone());
        group.count(1, 0);
        let (trust, marked_until) = Default::default();
        Self { group, uri, channel, runtime: Handle::current(), trust, marked_until }
    }

    /// The same, for questions that say nothing of whether it is worth calling.
    pub(super) fn instance(&self, bearer: Option<HeaderValue>) -> Instance {
        let address = self.uri.authority().map(ToString::to_string).unwrap_or_default();
        Instance::new(address, self.channel.clone(), bearer)
    }

    /// True while it is left alone.
    pub(super) fn is_ejected(&self) -> bool {
        self.trust.lock().is_given_up()
    }

    /// False while a call of it may wait in vain; one that was given up because it
    /// refuses does say so.
    pub(super) fn answers(&self) -> bool {
        self.trust.lock().answers()
    }

    /// True for a while after an answer that was marked as degraded.
    pub(super) fn is_marked(&self) -> bool {
        let until = *self.marked_until.lock();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Takes note of how a call of it ended.
    pub(super) fn look(&self, trailers: &HeaderMap) {
        if trailers.contains_key(DEGRADED) {
            *self.marked_until.lock() = Some(Instant::now() + PASSED_OVER);
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
    pub(super) async fn call(self: &Arc<Self>, request: Request) -> Option<Response> {
        let begun = Instant::now();
        let due = deadline::timeout(request.headers()).map(|timeout| begun + timeout);
        let mut pending = Pending { endpoint: self, begun, due, verdict: None };
        let mut channel = self.channel.clone();
        let answer = match channel.ready().await {
            Ok(channel) => channel.call(request).await,
            Err(error) => Err(error),
        };
        let (answer, verdict) = match answer {
            Ok(answer) if is_unavailable(Some(&answer)) => (Some(answer), Verdict::Unavailable),
            Ok(answer) => (Some(answer.map(|body| Body::new(body.map_err(broken)))), Verdict::Well),
            // The deadline has passed: there is no time for another instance.
            Err(error) if is_timeout(&error) => {
                let message = "no answer by the deadline; the outcome is unknown";
                let status = status::refuse(Kind::Timeout, Reason::Deadline, message);
                (Some(status.into_http()), Verdict::Silent)
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

    /// The same stream; a connection that breaks under it is known at once,
    /// whether or not anybody calls meanwhile.
    pub(super) fn watch(self: &Arc<Self>, stream: Response) -> Response {
        let (endpoint, begun) = (Arc::downgrade(self), Instant::now());
        stream.map(|body| {
            Body::new(body.map_err(move |error| {
                if let Some(endpoint) = endpoint.upgrade() {
                    endpoint.judge(Verdict::Unreachable, begun);
                }
                error
            }))
        })
    }

    fn judge(self: &Arc<Self>, verdict: Verdict, begun: Instant) {
        // Whoever refuses is left alone for the sake of another.
        let is_borne = verdict == Verdict::Unavailable && self.group.has_one_at_most();
        let change = self.trust.lock().judge(verdict, begun, is_borne);
        let (role, peer) = (self.group.role, &self.uri);
        match change {
            Some(Change::GivenUp { pause, is_news }) => {
                self.group.count(-1, 1);
                self.runtime.spawn(take_again(Arc::downgrade(self), pause));
                if is_news {
                    let reason = verdict.reason();
                    let pause_s = pause.as_secs();
                    tracing::warn!(role, %peer, reason, pause_s, "peer given up until it is well");
                }
            }
            Some(Change::Back) => tracing::info!(role, %peer, "peer answers calls again"),
            None => {}
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let is_given_up = self.trust.get_mut().is_given_up();
        let (well, ejected) = if is_given_up { (0, -1) } else { (-1, 0) };
        self.group.count(well, ejected);
    }
}

/// Asks an instance that was given up, one question at a time, until it says
/// that it is well, or is no longer one of its role. Jitter keeps its callers
/// apart.
async fn take_again(endpoint: Weak<Endpoint>, mut pause: Duration) {
    loop {
        let share = rand::rng().random_range(0.8..1.0);
        tokio::time::sleep(pause.mul_f64(share)).await;
        let Some(endpoint) = endpoint.upgrade() else { return };
        if question::is_well(&endpoint.channel).await {
            endpoint.trust.lock().take_again();
            endpoint.group.count(1, -1);
            return;
        }
        pause = PAUSE;
    }
}

/// The way to an instance, which connects when it is used.
pub(super) fn channel(uri: Uri) -> Channel {
    channel::Endpoint::from(uri)
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_lazy()
}

/// A connection that broke under an answer is no word of whoever answered: the caller
/// asks again, as without an answer.
fn broken(error: Status) -> Status {
    match error.code() {
        Code::Internal | Code::Unknown | Code::Cancelled => {
            let message = format!("the answer broke off: {}", error.message());
            status::refuse(Kind::Unavailable, Reason::Unavailable, message)
        }
        _ => error,
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

/// Judges when it is dropped, so that a call that was never answered counts.
struct Pending<'a> {
    endpoint: &'a Arc<Endpoint>,
    begun: Instant,
    due: Option<Instant>,
    verdict: Option<Verdict>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let is_over = self.due.is_some_and(|due| due <= Instant::now());
        let given_up = is_over.then_some(Verdict::Silent);
        if let Some(verdict) = self.verdict.or(given_up) {
            self.endpoint.judge(verdict, self.begun);
        }
    }
}
