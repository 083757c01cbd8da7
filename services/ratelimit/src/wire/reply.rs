//! The domain as replies.

use std::sync::Arc;

use mingle_proto::ratelimit::v1;

use crate::domain::{Algorithm, Answer, Ask, Limit, NEVER, Outage, Source, Standing};

/// What became of a charge.
pub(crate) fn result(ask: &Ask, answer: &Answer) -> v1::CheckResponse {
    let allowed = answer.verdict.is_allowed();
    v1::CheckResponse {
        allowed,
        charge_id: if allowed && ask.cost > 0 { ask.charge_id.clone() } else { String::new() },
        states: states(ask, answer),
        retry_after_ms: millis(answer.retry_us(ask)),
        degraded: answer.alone_of().is_some(),
        remembered: answer.source == Source::Denial,
        sliced: answer.source == Source::Slice,
    }
}

/// What became of a lease.
pub(crate) fn lease(ask: &Ask, answer: &Answer) -> v1::AcquireResponse {
    let v1::CheckResponse { allowed, charge_id, states, retry_after_ms, degraded, .. } =
        result(ask, answer);
    let held_us = if charge_id.is_empty() { 0 } else { ask.held_us() };
    v1::AcquireResponse {
        acquired: allowed,
        lease_id: charge_id,
        // Rounded down: until then it is so.
        expires_after_ms: held_us / 1_000,
        states,
        retry_after_ms,
        degraded,
    }
}

/// What would become of it.
pub(crate) fn peeked(ask: &Ask, answer: &Answer) -> v1::PeekResponse {
    let allowed = answer.verdict.is_allowed();
    v1::PeekResponse { allowed, states: states(ask, answer), degraded: answer.alone_of().is_some() }
}

/// A limit as it is configured.
pub(crate) fn configured(limit: &Limit) -> v1::Limit {
    let algorithm = match limit.algorithm {
        Algorithm::SlidingWindow => v1::Algorithm::SlidingWindow,
        Algorithm::Gcra => v1::Algorithm::Gcra,
        Algorithm::TokenBucket => v1::Algorithm::TokenBucket,
        Algorithm::FixedWindow => v1::Algorithm::FixedWindow,
        Algorithm::Concurrency => v1::Algorithm::Concurrency,
    };
    let bursts = matches!(limit.algorithm, Algorithm::Gcra | Algorithm::TokenBucket);
    v1::Limit {
        name: limit.name.to_string(),
        algorithm: algorithm.into(),
        quota: limit.quota,
        window_ms: millis(limit.window_us),
        burst: if bursts { limit.burst } else { 0 },
        outage_policy: policy(limit.outage).into(),
        shadow: limit.shadow,
    }
}

fn policy(outage: Outage) -> v1::OutagePolicy {
    match outage {
        Outage::Local => v1::OutagePolicy::Local,
        Outage::Open => v1::OutagePolicy::Open,
        Outage::Closed => v1::OutagePolicy::Closed,
    }
}

fn states(ask: &Ask, answer: &Answer) -> Vec<v1::LimitState> {
    let state = |(limit, standing): (&Arc<Limit>, &Standing)| {
        let (quota, decided_by) = match answer.alone_of() {
            None => (limit.quota, v1::OutagePolicy::Unspecified),
            Some(parts) if limit.outage == Outage::Local => {
                (limit.part_of(parts).share(), v1::OutagePolicy::Local)
            }
            Some(_) => (limit.quota, policy(limit.outage)),
        };
        v1::LimitState {
            limit: limit.name.to_string(),
            allowed: standing.allowed,
            quota,
            remaining: standing.remaining,
            retry_after_ms: millis(standing.retry_us),
            reset_after_ms: millis(standing.reset_us),
            shadow: limit.shadow,
            decided_by: decided_by.into(),
        }
    };
    ask.limits.iter().zip(&answer.standings).map(state).collect()
}

/// Rounded up: after it, it is so.
fn millis(us: u64) -> u64 {
    if us == NEVER { NEVER } else { us.div_ceil(1_000) }
}
