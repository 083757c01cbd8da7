//! Calls of several names and processes, as one.

use std::collections::BTreeMap;

use mingle_proto::{
    gateway::v1 as pb,
    runtime::v1::{self as rt, CallKind, Figures},
};

/// The calls that were added.
#[derive(Default)]
pub(super) struct Sum {
    count: u64,
    failures: Option<u64>,
    per_second: f64,
    /// How many took about so many microseconds.
    took: BTreeMap<u64, u64>,
}

impl Sum {
    /// Those of one kind in one process.
    pub(super) fn of(figures: &Figures, is_it: impl Fn(&rt::Calls) -> bool) -> Self {
        let mut sum = Self::default();
        sum.add(figures, is_it);
        sum
    }

    /// Adds those of another process.
    pub(super) fn add(&mut self, figures: &Figures, is_it: impl Fn(&rt::Calls) -> bool) {
        for calls in figures.calls.iter().filter(|calls| is_it(calls)) {
            self.count += calls.count;
            self.per_second += rate(calls.count, figures);
            if let Some(failures) = calls.failures {
                *self.failures.get_or_insert(0) += failures;
            }
            for bucket in &calls.buckets {
                *self.took.entry(bucket.most_us).or_default() += bucket.count;
            }
        }
    }

    /// No more than this share of the calls took longer, in milliseconds.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.took.values().sum();
        let rank = (share * all as f64).ceil() as u64;
        let mut seen = 0;
        let mut reached = self.took.iter().skip_while(|(_, count)| {
            seen += **count;
            seen < rank
        });
        reached.next().map(|(most_us, _)| *most_us as f64 / 1e3)
    }

    /// The share of failures in percent; `None` without calls.
    pub(super) fn failed(&self) -> Option<f64> {
        let failures = self.failures.unwrap_or(0);
        // A failure is a call, be it that its time was not taken.
        let calls = self.count.max(failures);
        (calls > 0).then(|| failures as f64 * 100.0 / calls as f64)
    }

    /// As it is told.
    pub(super) fn stats(&self) -> pb::CallStats {
        pb::CallStats {
            count: self.count,
            failures: self.failures,
            per_second: self.per_second,
            p50_ms: self.quantile(0.5),
            p95_ms: self.quantile(0.95),
            p99_ms: self.quantile(0.99),
        }
    }
}

/// So many within the window, in a second.
pub(super) fn rate(count: u64, figures: &Figures) -> f64 {
    // A process that has just begun has seen less than a second.
    count as f64 * 1e3 / figures.window_ms.max(1_000) as f64
}

/// Calls of a kind, whatever their name.
pub(super) fn kind(kind: CallKind) -> impl Fn(&rt::Calls) -> bool {
    move |calls| calls.kind() == kind
}

/// Calls of a kind by one name.
pub(super) fn named(kind: CallKind, name: &str) -> impl Fn(&rt::Calls) -> bool {
    move |calls| calls.kind() == kind && calls.name == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(buckets: &[(u64, u64)], failures: Option<u64>) -> Figures {
        let bucket =
            |(most_us, count): &(u64, u64)| rt::Bucket { most_us: *most_us, count: *count };
        let calls = rt::Calls {
            kind: CallKind::Rpc.into(),
            name: "ChatService/Send".to_owned(),
            count: buckets.iter().map(|(_, count)| count).sum(),
            failures,
            succeeded: None,
            buckets: buckets.iter().map(bucket).collect(),
        };
        Figures { window_ms: 60_000, calls: vec![calls], ..Default::default() }
    }

    #[test]
    fn quantiles_are_of_all_calls_and_not_means_of_quantiles() {
        let mut sum = Sum::of(&figures(&[(1_000, 98), (2_000, 1)], Some(0)), kind(CallKind::Rpc));
        assert_eq!(sum.quantile(0.99), Some(2.0), "the 99th of 99");
        sum.add(&figures(&[(500_000, 1)], Some(3)), named(CallKind::Rpc, "ChatService/Send"));
        sum.add(&figures(&[(500_000, 9)], Some(9)), named(CallKind::Rpc, "ChatService/Join"));
        sum.add(&figures(&[(500_000, 9)], Some(9)), kind(CallKind::Redis));
        let stats = sum.stats();
        assert_eq!((stats.count, stats.failures), (100, Some(3)));
        assert_eq!((stats.p50_ms, stats.p95_ms, stats.p99_ms), (Some(1.0), Some(1.0), Some(2.0)));
        assert_eq!(sum.quantile(1.0), Some(500.0));
        assert!((stats.per_second - 100.0 / 60.0).abs() < 1e-9, "{stats:?}");
        assert_eq!(sum.failed(), Some(3.0));
    }

    #[test]
    fn without_calls_nothing_is_told() {
        let sum = Sum::default();
        assert_eq!((sum.quantile(0.5), sum.failed()), (None, None));
        assert_eq!(sum.stats(), pb::CallStats::default());
        let only_failures = Sum { failures: Some(4), ..Sum::default() };
        assert_eq!(only_failures.failed(), Some(100.0));
    }
}
