//! What the log says of tokens that were refused.
//!
//! A wrong secret refuses everybody, and no client tells the operator: the log
//! has to. Whoever guesses must not fill it: however many are refused, there is
//! one line at the first, and one more per [`EVERY`] with the counts since.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jsonwebtoken::errors::ErrorKind;
use mingle_runtime::Context;
use tokio::{sync::Notify, time::sleep};

/// Lines come no sooner after one another.
const EVERY: Duration = Duration::from_secs(60);

/// Why a token was refused. Nothing of the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was good, and has ended.
    Expired,
    /// It is signed with another secret.
    Signature,
    /// It is for another audience.
    Audience,
    /// It is from another issuer.
    Issuer,
    /// It is signed another way than HS256.
    Algorithm,
    /// It is no token, or what it claims is no claim of ours.
    Malformed,
}

impl From<&ErrorKind> for Why {
    fn from(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Self::Algorithm,
            _ => Self::Malformed,
        }
    }
}

impl Why {
    const ALL: [Self; 6] = [
        Self::Expired,
        Self::Signature,
        Self::Audience,
        Self::Issuer,
        Self::Algorithm,
        Self::Malformed,
    ];

    /// As the metric's label has it.
    fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
            Self::Malformed => "malformed",
        }
    }
}

/// The refusals that no line has told of.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; Why::ALL.len()],
    some: Notify,
}

impl Refusals {
    /// Counts one.
    pub(super) fn note(&self, why: Why) {
        metrics::counter!("mingle_gateway_tokens_refused_total", "why" => why.name()).increment(1);
        self.counts[why as usize].fetch_add(1, Ordering::Relaxed);
        self.some.notify_one();
    }

    /// Tells of them until the process stops.
    pub(crate) async fn tell(&self, ctx: &Context) {
        let telling = async {
            loop {
                self.some.notified().await;
                self.line();
                sleep(EVERY).await;
            }
        };
        ctx.stop.run_until_cancelled(telling).await;
    }

    fn line(&self) {
        let taken = Why::ALL.map(|why| self.counts[why as usize].swap(0, Ordering::Relaxed));
        let [expired, signature, audience, issuer, algorithm, malformed] = taken;
        let others = taken.iter().sum::<u64>() - expired;
        if others == 0 {
            tracing::info!(expired, "users' tokens were refused: they have expired");
            return;
        }
        let hint = if signature > 0 {
            "is MINGLE_JWT_SECRET the secret of who issues them?"
        } else if audience + issuer > 0 {
            "see gateway.jwt_audience and gateway.jwt_issuer"
        } else if algorithm > 0 {
            "they have to be signed with HS256"
        } else {
            "what was sent is no token of this application's"
        };
        tracing::warn!(
            expired,
            signature,
            audience,
            issuer,
            algorithm,
            malformed,
            hint,
            "users' tokens were refused"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusals, Why};

    #[test]
    fn each_reason_has_its_count() {
        let refusals = Refusals::default();
        for (at, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(at, why as usize, "{}", why.name());
            refusals.note(why);
        }
        refusals.line();
        assert!(refusals.counts.iter().all(|count| count.load(super::Ordering::Relaxed) == 0));
    }
}
