//! What was decided by each limit, as it is told.

use std::sync::{Arc, OnceLock};

use ahash::AHashMap;
use metrics::{Counter, counter};
use parking_lot::RwLock;

use crate::domain::{Answer, Ask, Limit, Source, Standing};

const DECISIONS: &str = "mingle_ratelimit_decisions_total";
const NEAR_LIMIT: &str = "mingle_ratelimit_near_limit_total";

/// Of a limit, what is left when it is nearly used up: a fifth.
const NEAR: u64 = 5;

/// The counters of limits, by name. Each is looked up once: to name it costs more than to
/// count.
#[derive(Default)]
pub(super) struct Decisions(RwLock<AHashMap<Arc<str>, Of>>);

/// Those of one limit.
#[derive(Default)]
struct Of {
    /// By source.
    allowed: [OnceLock<Counter>; 4],
    denied: [OnceLock<Counter>; 4],
    near: OnceLock<Counter>,
}

impl Decisions {
    /// Counts the decision of each limit.
    pub(super) fn count(&self, ask: &Ask, answer: &Answer) {
        for (limit, standing) in ask.limits.iter().zip(&answer.standings) {
            if let Some(of) = self.0.read().get(&limit.name) {
                of.count(limit, standing, answer.source);
                continue;
            }
            let mut all = self.0.write();
            all.entry(limit.name.clone()).or_default().count(limit, standing, answer.source);
        }
    }
}

impl Of {
    fn count(&self, limit: &Limit, standing: &Standing, source: Source) {
        let (at, source) = match source {
            Source::Count => (0, "count"),
            Source::Slice => (1, "slice"),
            Source::Denial => (2, "denial"),
            Source::Alone(_) => (3, "alone"),
        };
        let (decided, decision) = match standing.allowed {
            true => (&self.allowed, "allowed"),
            false => (&self.denied, "denied"),
        };
        let name = || limit.name.to_string();
        let counter =
            || counter!(DECISIONS, "limit" => name(), "decision" => decision, "source" => source);
        decided[at].get_or_init(counter).increment(1);
        if standing.allowed && standing.remaining <= limit.quota / NEAR {
            let near = || counter!(NEAR_LIMIT, "limit" => name());
            self.near.get_or_init(near).increment(1);
        }
    }
}
