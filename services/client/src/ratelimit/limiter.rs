//! Asks the service, and decides without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use mingle_proto::ratelimit::v1::{
    Charge, CheckRequest, CheckResponse, LimitState, OutagePolicy, RefundRequest,
    rate_limit_service_client::RateLimitServiceClient,
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Request, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as ResponseBody, Bytes, StdError},
};
use uuid::Uuid;

use super::{
    gather::{Gather, Told, Turn},
    local::{Local, Share},
    policy::{Outage, Policy},
};

/// How long the service may take by default.
pub const DEADLINE: Duration = Duration::from_millis(20);
/// How long a limit that is closed in an outage waits before it takes one for that:
/// an answer that is late may be a busy machine's.
const INSISTS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];
/// After this long none is asked again, whatever the deadline of each is.
const INSISTENT: Duration = Duration::from_millis(350);
/// When to come again while nobody counts and everything is denied.
const CLOSED: Duration = Duration::from_secs(1);
/// When to come again, at most, whom a share denied: the service may answer by
/// then, and know that the others left room.
const ALONE: Duration = Duration::from_secs(1);

/// Who decided about a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The count that all share.
    Shared,
    /// The outage policy of the service, which nobody can count with.
    Service,
    /// The outage policy of this process, which the service did not answer. Such
    /// a charge goes back by [`Limiter::forget`].
    Process,
}

/// What a limit says to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Go on.
    pub allowed: bool,
    /// Cost that a window admits.
    pub quota: u64,
    /// Cost that would be admitted now.
    pub remaining: u64,
    /// When denied, when to come again; `Duration::MAX`: the cost is above what
    /// is ever admitted. Zero when allowed. Soon where a share denied: that is no
    /// word on the limit.
    pub retry_after: Duration,
    /// After this long the limit is as if unused.
    pub reset_after: Duration,
    /// Who decided.
    pub source: Source,
    /// Denied by an outage policy that is `closed`: it is not that too much was
    /// asked for.
    pub closed: bool,
}

impl Verdict {
    /// True when an outage policy decided.
    pub fn is_degraded(&self) -> bool {
        self.source != Source::Shared
    }
}

/// Charges limits of the service at `client`. Clones share what is counted
/// here during an outage; one per process. Checks that are made while four others
/// are on their way are asked together: when one of those is answered, or after a
/// quarter of the deadline. Of limits that are closed in an outage each is asked alone,
/// and within a third of a second up to three times before it is taken for an outage.
///
/// **Degraded**: when the service does not answer in time, or cannot count,
/// the policy of the limit decides, marked in the verdict. Counting here
/// (`Outage::Local`) begins with what the service has admitted by way of this
/// process, knows no repeats, gives back by [`Limiter::forget`], and ends with
/// the process.
#[derive(Clone)]
pub struct Limiter<T> {
    client: RateLimitServiceClient<T>,
    gather: Arc<Gather>,
    shared: Arc<Shared>,
    deadline: Duration,
}

struct Shared {
    local: Local,
    nodes: AtomicU32,
}

impl<T> Limiter<T>
where
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Into<StdError>,
    T::ResponseBody: ResponseBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as ResponseBody>::Error: Into<StdError> + Send,
{
    /// Over a transport: a channel, or a service in this process.
    pub fn new(transport: T) -> Self {
        let shared = Arc::new(Shared { local: Local::new(), nodes: AtomicU32::new(1) });
        let client = RateLimitServiceClient::new(transport);
        let several = client.clone();
        let gather = Arc::new(Gather::new(Box::new(move |checks, patience| {
            let mut client = several.clone();
            let mut request = Request::new(checks);
            request.set_timeout(patience);
            Box::pin(async move { Ok(client.check_each(request).await?.into_inner()) })
        })));
        Self { client, gather, shared, deadline: DEADLINE }
    }

    /// The same; the service may take this long.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Tells how many processes share a limit during an outage: each counts
    /// quota ÷ nodes, rounded down and at least 1. It is 1 until told, so that a
    /// process that starts during an outage and hears nobody has the whole of
    /// it; more nodes than the quota admit 1 each.
    pub fn set_nodes(&self, nodes: u32) {
        self.shared.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// Asks `count` every so often how many processes share the limits, and is
    /// told so; `None`: what was known last. Never ends. Once a
    /// millisecond where `every` is less.
    pub async fn share<F>(self, every: Duration, count: impl Fn() -> F)
    where
        F: Future<Output = Option<u32>>,
    {
        let mut looks = tokio::time::interval(every.max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Some(nodes) = count().await {
                self.set_nodes(nodes);
            }
        }
    }

    /// Charges `subject` with `cost`, from 1. The same `charge_id` (1 to 256
    /// bytes, no control characters) of a subject is charged once.
    ///
    /// **Errors**: what is wrong with the call itself, such as a limit that the
    /// service does not know. An outage is none.
    pub async fn check(
        &self,
        policy: &Policy,
        subject: &str,
        cost: u64,
        charge_id: &str,
    ) -> Result<Verdict, Status> {
        self.charge(policy, (subject, cost), (charge_id, false)).await
    }

    /// The same for what nobody will ask for again: whoever was denied a moment ago
    /// may be denied without being counted anew. There is no id to give it back by.
    pub async fn check_once(
        &self,
        policy: &Policy,
        subject: &str,
        cost: u64,
    ) -> Result<Verdict, Status> {
        let id = Uuid::new_v4().simple().to_string();
        self.charge(policy, (subject, cost), (&id, true)).await
    }

    async fn charge(
        &self,
        policy: &Policy,
        (subject, cost): (&str, u64),
        (charge_id, is_new): (&str, bool),
    ) -> Result<Verdict, Status> {
        let limits = vec![policy.limit.clone()];
        let charge = Charge { subject: subject.to_owned(), limits, cost: Some(cost.max(1)) };
        let request_id = charge_id.to_owned();
        // What is insisted on is one charge, however often it is asked for.
        let once = is_new && policy.outage != Outage::Closed;
        let check = CheckRequest { charge: Some(charge), request_id, is_new, once };
        let asked = match policy.outage {
            Outage::Closed => self.insist(check).await,
            Outage::Local | Outage::Open => {
                let due = Instant::now() + self.deadline;
                in_time(due, self.ask(check, due)).await
            }
        };
        match asked {
            Ok(response) => {
                let verdict = verdict(policy, &response);
                if verdict.allowed {
                    self.note(policy, subject, cost.max(1));
                }
                Ok(verdict)
            }
            Err(status) if is_outage(&status) => Ok(self.decide(policy, subject, cost)),
            Err(status) => Err(status),
        }
    }

    /// Where nobody may pass uncounted, one answer that is late must not turn people
    /// away: it is asked again, which is one charge. Each is asked for alone.
    async fn insist(&self, mut check: CheckRequest) -> Result<CheckResponse, Status> {
        let mut pauses = INSISTS.iter();
        let until = Instant::now() + INSISTENT;
        loop {
            let due = Instant::now() + self.deadline;
            let asked = in_time(due, self.alone(check.clone(), due)).await;
            // It may have been charged, and the answer lost.
            check.is_new = false;
            let is_decided = match &asked {
                Ok(response) => !is_closed(response),
                Err(status) => !is_outage(status),
            };
            match pauses.next() {
                Some(pause) if !is_decided && Instant::now() + *pause < until => {
                    sleep(*pause).await;
                }
                _ => return asked,
            }
        }
    }

    /// Asks alone, or with others that are asked at the same time.
    async fn ask(&self, check: CheckRequest, due: Instant) -> Result<CheckResponse, Status> {
        let _flight = match self.gather.turn(&check, due) {
            Turn::Now(flight) => flight,
            Turn::Shared(company) => match company.told().await {
                Told::Answer(response) => return Ok(response),
                Told::Failed(status) => return Err(status),
                Told::Alone => None,
            },
        };
        self.alone(check, due).await
    }

    async fn alone(&self, check: CheckRequest, due: Instant) -> Result<CheckResponse, Status> {
        let mut request = Request::new(check);
        request.set_timeout(due.saturating_duration_since(Instant::now()));
        Ok(self.client.clone().check(request).await?.into_inner())
    }

    /// Gives a charge of `cost` back, for work that was not done; false when
    /// there was nothing to give back.
    ///
    /// **Errors**: UNAVAILABLE and DEADLINE_EXCEEDED leave the outcome unknown.
    /// What is not given back ends with its window.
    pub async fn refund(
        &self,
        policy: &Policy,
        subject: &str,
        cost: u64,
        charge_id: &str,
    ) -> Result<bool, Status> {
        let refunded = self.give_back(subject, charge_id, false).await?;
        if refunded {
            self.forget(policy, subject, cost);
        }
        Ok(refunded)
    }

    /// The same, unless the charge was asked for again since: then another
    /// attempt at the same work may rely on it.
    pub async fn refund_unless_repeated(
        &self,
        policy: &Policy,
        subject: &str,
        cost: u64,
        charge_id: &str,
    ) -> Result<bool, Status> {
        let refunded = self.give_back(subject, charge_id, true).await?;
        // One attempt of several was noted here, whichever of them paid.
        self.forget(policy, subject, cost);
        Ok(refunded)
    }

    async fn give_back(
        &self,
        subject: &str,
        charge_id: &str,
        unless_repeated: bool,
    ) -> Result<bool, Status> {
        let (subject, charge_id) = (subject.to_owned(), charge_id.to_owned());
        let mut request = Request::new(RefundRequest { subject, charge_id, unless_repeated });
        request.set_timeout(self.deadline);
        let mut client = self.client.clone();
        match tokio::time::timeout(self.deadline, client.refund(request)).await {
            Ok(response) => Ok(response?.into_inner().refunded),
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// Gives back what was counted here alone, for work that was not done: the
    /// way back of a charge that [`Source::Process`] allowed.
    pub fn forget(&self, policy: &Policy, subject: &str, cost: u64) {
        self.shared.local.give_back(&policy.limit, subject, cost.max(1));
    }

    /// What the service admitted is counted here too: an outage does not begin
    /// with a fresh quota.
    fn note(&self, policy: &Policy, subject: &str, cost: u64) {
        if policy.outage == Outage::Local {
            let share = Share { quota: policy.quota, window: policy.window };
            self.shared.local.note(&policy.limit, subject, share, cost);
        }
    }

    fn decide(&self, policy: &Policy, subject: &str, cost: u64) -> Verdict {
        let open = Verdict {
            allowed: true,
            quota: policy.quota,
            remaining: policy.quota,
            retry_after: Duration::ZERO,
            reset_after: Duration::ZERO,
            source: Source::Process,
            closed: false,
        };
        match policy.outage {
            Outage::Open => open,
            Outage::Closed => Verdict {
                allowed: false,
                remaining: 0,
                retry_after: CLOSED,
                reset_after: CLOSED,
                closed: true,
                ..open
            },
            Outage::Local => {
                let nodes = u64::from(self.shared.nodes.load(Ordering::Relaxed));
                let quota = (policy.quota / nodes).max(1);
                let share = Share { quota, window: policy.window };
                let counted = self.shared.local.charge(&policy.limit, subject, share, cost.max(1));
                Verdict {
                    allowed: counted.allowed,
                    quota,
                    remaining: counted.remaining,
                    retry_after: counted.retry_after.min(ALONE),
                    reset_after: counted.reset_after,
                    ..open
                }
            }
        }
    }
}

/// Nobody answers, or nobody can count.
fn is_outage(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            // The service sheds load: a denial is an answer, not this.
            | Code::ResourceExhausted
            // What a transport fails with.
            | Code::Unknown
            | Code::Internal
    )
}

/// The answer of `work`, or that there was none by `due`.
async fn in_time(
    due: Instant,
    work: impl Future<Output = Result<CheckResponse, Status>>,
) -> Result<CheckResponse, Status> {
    let late = |_| Err(Status::deadline_exceeded("no answer in time"));
    timeout_at(due, work).await.unwrap_or_else(late)
}

/// Denied because the service cannot count either.
fn is_closed(response: &CheckResponse) -> bool {
    !response.allowed && response.states.iter().any(closes)
}

fn closes(state: &LimitState) -> bool {
    !state.allowed && !state.shadow && state.decided_by() == OutagePolicy::Closed
}

fn verdict(policy: &Policy, response: &CheckResponse) -> Verdict {
    let state = response.states.first();
    let millis = |ms: u64| if ms == u64::MAX { Duration::MAX } else { Duration::from_millis(ms) };
    Verdict {
        allowed: response.allowed,
        quota: state.map_or(policy.quota, |state| state.quota),
        remaining: state.map_or(0, |state| state.remaining),
        retry_after: millis(response.retry_after_ms),
        reset_after: millis(state.map_or(0, |state| state.reset_after_ms)),
        source: if response.degraded { Source::Service } else { Source::Shared },
        closed: is_closed(response),
    }
}
