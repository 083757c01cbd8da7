//! Charges for work that may come to nothing.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tonic::{
    Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as ResponseBody, Bytes, StdError},
};

use super::{
    limiter::{Limiter, Source},
    policy::Policy,
};

/// Refunds on their way at the same time.
const MAX_REFUNDS: usize = 1024;
/// Nobody is told to come back later than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Charges of 1 of one limit, each for a piece of work.
pub struct Charges<T> {
    limiter: Limiter<T>,
    policy: Arc<Policy>,
    refunds: Arc<Semaphore>,
}

/// One that was made. Dropped, it stands, and ends with its window.
#[must_use = "a charge for work that was not done is to be settled"]
#[derive(Debug)]
pub struct Charge {
    subject: String,
    id: String,
    /// Counted by this process, which knows no ids.
    here: bool,
}

/// Why there is no charge.
#[derive(Debug)]
pub enum Denied {
    /// The subject has had as much as the limit admits.
    Limited {
        /// When there is more; at most a day.
        retry_after: Duration,
    },
    /// Nobody can count, and the limit is closed then.
    Closed {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The service refused the call itself.
    Broken(Box<Status>),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limited { .. } => "the limit is reached",
            Self::Closed { .. } => "the limit cannot be counted now",
            Self::Broken(_) => "the limit cannot be charged",
        })
    }
}

impl std::error::Error for Denied {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(status) => Some(status),
            Self::Limited { .. } | Self::Closed { .. } => None,
        }
    }
}

/// What became of the work that a charge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It was done: the charge stands.
    Done,
    /// Nobody knows. The next attempt has the same id and finds out: the charge
    /// stands.
    Unknown,
    /// It was done before. The charge is given back, unless another attempt
    /// found it made already: then it stands for the work.
    DoneBefore,
    /// This attempt began nothing, and what became of one before it is as
    /// unknown as ever. The charge is given back on the same terms.
    NotBegun,
    /// It will not be done: the charge is given back.
    Undone,
}

impl<T> Charges<T>
where
    T: GrpcService<Body> + Clone + Send + Sync + 'static,
    T::Future: Send,
    T::Error: Into<StdError>,
    T::ResponseBody: ResponseBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as ResponseBody>::Error: Into<StdError> + Send,
{
    /// Charges the limit `policy` at the service of `limiter`.
    pub fn new(limiter: Limiter<T>, policy: Policy) -> Self {
        let refunds = Arc::new(Semaphore::new(MAX_REFUNDS));
        Self { limiter, policy: Arc::new(policy), refunds }
    }

    /// Charges `subject`. Every attempt at one piece of work has the same `id`
    /// (1 to 256 bytes, no control characters) and is one charge.
    ///
    /// **Errors**: [`Denied`]; nothing is charged then.
    pub async fn charge(&self, subject: &str, id: &str) -> Result<Charge, Denied> {
        let checked = self.limiter.check(&self.policy, subject, 1, id).await;
        let verdict = checked.map_err(|status| Denied::Broken(Box::new(status)))?;
        let retry_after = verdict.retry_after.min(LONGEST);
        match (verdict.allowed, verdict.closed) {
            (true, _) => {
                let (subject, id) = (subject.to_owned(), id.to_owned());
                Ok(Charge { subject, id, here: verdict.source == Source::Process })
            }
            (false, false) => Err(Denied::Limited { retry_after }),
            (false, true) => Err(Denied::Closed { retry_after }),
        }
    }

    /// Gives back a charge that stands for no work. Runs to its end also when
    /// the caller leaves; beyond 1,024 at once a charge is left to its window.
    pub async fn settle(&self, charge: Charge, work: Work) {
        if work == Work::Done {
            return;
        }
        // What is counted here knows no ids: it is of this attempt, and the
        // next one is counted anew.
        if charge.here {
            return self.limiter.forget(&self.policy, &charge.subject, 1);
        }
        if work == Work::Unknown {
            return;
        }
        let Ok(place) = self.refunds.clone().try_acquire_owned() else {
            tracing::debug!("too many refunds at once: a charge ends with its window");
            return;
        };
        let (limiter, policy) = (self.limiter.clone(), self.policy.clone());
        let refund = tokio::spawn(async move {
            let Charge { subject, id, .. } = charge;
            let refunded = match work {
                Work::DoneBefore | Work::NotBegun => {
                    limiter.refund_unless_repeated(&policy, &subject, 1, &id).await
                }
                _ => limiter.refund(&policy, &subject, 1, &id).await,
            };
            if let Err(error) = refunded {
                tracing::debug!(%error, "a charge ends with its window");
            }
            drop(place);
        });
        // A refund that panics is none; the log says so.
        let _ = refund.await;
    }
}
