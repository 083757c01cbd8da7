//! The domain as responses.

use mingle_proto::{Timestamp, cache::v1};

use super::fields::token_text;
use crate::domain::{Filled, Key, Outcome, Read, Value};

/// What a Get is answered.
pub(crate) fn read(key: &Key, read: Read) -> v1::GetResponse {
    let outcome = match read.outcome {
        Outcome::Hit => v1::Outcome::Hit,
        Outcome::Stale => v1::Outcome::Stale,
        Outcome::StaleLoad => v1::Outcome::StaleLoad,
        Outcome::MissLoad => v1::Outcome::MissLoad,
        Outcome::MissWait => v1::Outcome::MissWait,
        Outcome::Miss => v1::Outcome::Miss,
        Outcome::Deferred => v1::Outcome::Deferred,
    };
    let lease = read.lease.map(|given| v1::Lease {
        token: token_text(key, given.token),
        expires_after_ms: given.lasts_us / 1_000,
    });
    let mut response = v1::GetResponse {
        outcome: outcome.into(),
        lease,
        retry_after_ms: read.retry_us.div_ceil(1_000),
        degraded: read.degraded,
        ..v1::GetResponse::default()
    };
    if let Some(entry) = read.entry {
        let stored_ms = i64::try_from(entry.stored_us / 1_000).unwrap_or(i64::MAX);
        response.value = Some(value(&entry.value));
        response.stored_at = Some(Timestamp::from_millis(stored_ms));
        response.version = entry.version;
    }
    response
}

fn value(of: &Value) -> v1::Value {
    let (data, content_type) = (of.data.to_vec(), of.content_type.to_string());
    v1::Value { data, absent: of.absent, content_type }
}

/// What a Fill is answered.
pub(crate) fn filled(filled: Filled) -> v1::FillResponse {
    let outcome = match filled {
        Filled::Stored => v1::FillOutcome::Stored,
        Filled::Rejected => v1::FillOutcome::Rejected,
        Filled::Rearmed => v1::FillOutcome::Rearmed,
        Filled::Ended => v1::FillOutcome::Ended,
    };
    v1::FillResponse { outcome: outcome.into() }
}
