//! Who asks, and for what.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::ensure;
use mingle_proto::{
    presence::v1::{GetRequest, presence_service_client::PresenceServiceClient},
    ratelimit::v1::{
        Charge, CheckEachRequest, CheckRequest, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tonic::transport::Channel;

use crate::load::Caller;

/// Of one call of several.
pub(super) const BATCH: u64 = 64;
/// 30 in a minute.
pub(super) const FEW: &str = "chat_message";
/// 30 in an hour.
pub(super) const FEWER: &str = "queue_join";
/// As many as anybody asks for.
pub(super) const MANY: &str = "api";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One check of a subject that nobody has heard of.
    Cold,
    /// The same, which is neither repeated nor given back.
    Once,
    /// One check of the one subject that has nothing left.
    Denied,
    /// One check of the one subject that has enough left.
    Hot,
    /// Many cold checks in one call.
    Batch,
    /// A bare call.
    Echo,
}

impl Kind {
    pub(super) const OURS: [Self; 5] =
        [Self::Cold, Self::Once, Self::Denied, Self::Hot, Self::Batch];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cold | Self::Echo => "cold check",
            Self::Once => "cold check, once",
            Self::Denied => "check of one denied subject",
            Self::Hot => "check of one hot subject",
            Self::Batch => "check in a batch of 64",
        }
    }

    pub(super) fn decisions(self) -> f64 {
        if let Self::Batch = self { BATCH as f64 } else { 1.0 }
    }
}

#[derive(Clone)]
pub(super) struct Asks {
    pub(super) kind: Kind,
    pub(super) channel: Channel,
    pub(super) subjects: Arc<AtomicU64>,
}

impl Asks {
    fn check(&self) -> CheckRequest {
        let number = self.subjects.fetch_add(1, Ordering::Relaxed);
        let (subject, limit) = match self.kind {
            Kind::Denied => ("bench".to_owned(), FEWER),
            Kind::Hot => ("bench".to_owned(), MANY),
            _ => (format!("bench {number}"), FEW),
        };
        let charge = Charge { subject, limits: vec![limit.to_owned()], cost: Some(1) };
        CheckRequest {
            charge: Some(charge),
            request_id: number.to_string(),
            is_new: true,
            once: matches!(self.kind, Kind::Once | Kind::Hot),
        }
    }
}

/// What an answer says.
pub(super) struct Told {
    /// It was not counted together.
    pub(super) degraded: bool,
}

impl Asks {
    /// Asks once; answers how it was decided.
    pub(super) async fn ask(&self) -> anyhow::Result<Told> {
        let mut limits = RateLimitServiceClient::new(self.channel.clone());
        match self.kind {
            Kind::Echo => {
                let user_id = "somebody".to_owned();
                PresenceServiceClient::new(self.channel.clone())
                    .get(GetRequest { user_id })
                    .await?;
                Ok(Told { degraded: false })
            }
            Kind::Batch => {
                let checks = (0..BATCH).map(|_| self.check()).collect();
                let reply = limits.check_each(CheckEachRequest { checks }).await?.into_inner();
                let is_good = |it: &_| matches!(it, Some(true));
                let allowed =
                    reply.results.iter().map(|it| it.response.as_ref().map(|it| it.allowed));
                ensure!(allowed.filter(is_good).count() as u64 == BATCH, "not all of a batch");
                Ok(Told {
                    degraded: reply
                        .results
                        .iter()
                        .any(|it| it.response.as_ref().is_some_and(|it| it.degraded)),
                })
            }
            kind => {
                let reply = limits.check(self.check()).await?.into_inner();
                ensure!(reply.allowed != (kind == Kind::Denied), "{reply:?}");
                Ok(Told { degraded: reply.degraded })
            }
        }
    }
}

impl Caller for Asks {
    async fn call(&mut self) -> anyhow::Result<()> {
        ensure!(!self.ask().await?.degraded, "not counted together");
        Ok(())
    }
}
