//! Thresholds, and on which side of them values are.

use mingle_proto::gateway::v1 as pb;

/// A value is to stay on one side of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Threshold {
    name: &'static str,
    /// From there on it is not well.
    at: f64,
    unit: &'static str,
    /// True where more is worse.
    is_most: bool,
    /// Why a value on the wrong side says nothing by itself; empty where it does.
    caution: &'static str,
}

/// Of all lookups of keys, those that found one.
pub(super) const HIT_RATE: Threshold = Threshold {
    name: "hitRate",
    at: 70.0,
    unit: "percent",
    is_most: false,
    caution: "a fault where the server is a cache; presence, pools and limits look for keys that \
        need not be there",
};
/// Of `maxmemory`.
pub(super) const MEMORY: Threshold =
    Threshold { name: "memory", at: 85.0, unit: "percent", is_most: true, caution: "" };
/// What 99 % of the calls take at most.
pub(super) const LATENCY: Threshold =
    Threshold { name: "latencyP99", at: 100.0, unit: "ms", is_most: true, caution: "" };
/// Of all calls.
pub(super) const ERRORS: Threshold =
    Threshold { name: "errors", at: 1.0, unit: "percent", is_most: true, caution: "" };

impl Threshold {
    /// Where `value` is; without one it is not known, which `why` explains.
    pub(super) fn judge(self, value: Option<f64>, why: &str) -> pb::Alert {
        let is_well = |value: f64| if self.is_most { value < self.at } else { value > self.at };
        let (state, why) = match value {
            Some(value) if is_well(value) => ("ok", ""),
            Some(_) if self.caution.is_empty() => ("warn", ""),
            Some(_) => ("unknown", self.caution),
            None => ("unknown", why),
        };
        self.told(state, value, why)
    }

    /// Not well, whatever the value: for the reason in `why`.
    pub(super) fn warn(self, value: Option<f64>, why: &str) -> pb::Alert {
        self.told("warn", value, why)
    }

    fn told(self, state: &str, value: Option<f64>, why: &str) -> pb::Alert {
        pb::Alert {
            name: self.name.to_owned(),
            state: state.to_owned(),
            value,
            threshold: self.at,
            unit: self.unit.to_owned(),
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_not_well() {
        let state = |threshold: Threshold, value| threshold.judge(value, "no calls").state;
        for (threshold, well, ill, said) in [
            (HIT_RATE, 70.1, 70.0, "unknown"),
            (MEMORY, 84.9, 85.0, "warn"),
            (LATENCY, 99.9, 100.0, "warn"),
            (ERRORS, 0.99, 1.0, "warn"),
        ] {
            assert_eq!(state(threshold, Some(well)), "ok", "{threshold:?}");
            assert_eq!(state(threshold, Some(ill)), said, "{threshold:?}");
        }
        let unknown = ERRORS.judge(None, "no calls");
        assert_eq!((&*unknown.state, &*unknown.why), ("unknown", "no calls"));
        assert_eq!(ERRORS.judge(Some(0.0), "no calls").why, "");
    }
}
