//! Where a subject stands with a limit, for people.

use super::limit::{Algorithm, Limit, NEVER, Standing};

impl Limit {
    /// One line: what is counted, how much of it is used, and what becomes of `cost`.
    /// Microseconds are rounded up, as in replies.
    pub fn explain(&self, standing: Standing, cost: u64) -> String {
        let window = span(self.window_us);
        let quota = self.share();
        let used = quota.saturating_sub(standing.remaining);
        let stands = match self.algorithm {
            Algorithm::SlidingWindow => format!("{used} of {quota} used in the last {window}"),
            Algorithm::FixedWindow => {
                format!("{used} of {quota} used since the last multiple of {window}")
            }
            Algorithm::Gcra | Algorithm::TokenBucket => {
                let (left, step) = (standing.remaining, span(self.step_us()));
                format!("{left} of a burst of {} left, one more each {step}", self.burst)
            }
            Algorithm::Concurrency => {
                format!("{used} of {quota} held, by leases of {window}")
            }
        };
        let becomes = match (standing.retry_us, self.shadow) {
            _ if cost == 0 => "nothing is asked for".to_owned(),
            (0, _) => format!("{cost} fits"),
            (NEVER, _) => format!("{cost} never fits"),
            (retry_us, false) => format!("{cost} fits in {}", span(retry_us)),
            (retry_us, true) => {
                format!("{cost} fits in {}, and shadow denies nobody", span(retry_us))
            }
        };
        format!("{stands}; {becomes}")
    }
}

/// `1h30m`, `2.5s` or `4ms`.
fn span(us: u64) -> String {
    let ms = us.div_ceil(1_000);
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    if ms < 60_000 {
        let (seconds, tenths) = (ms / 1_000, ms % 1_000 / 100);
        return if tenths == 0 { format!("{seconds}s") } else { format!("{seconds}.{tenths}s") };
    }
    let mut seconds = ms.div_ceil(1_000);
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            text.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Outage;

    #[test]
    fn people_are_told_what_is_counted_and_when_it_fits() {
        let limit = |algorithm| Limit {
            name: "l".into(),
            algorithm,
            quota: 10,
            window_us: 60_000_000,
            burst: 4,
            outage: Outage::Local,
            shadow: false,
            parts: 1,
        };
        let standing = |remaining, retry_us, reset_us| Standing {
            allowed: retry_us == 0,
            remaining,
            retry_us,
            reset_us,
        };
        for (algorithm, standing, cost, told) in [
            (Algorithm::SlidingWindow, standing(3, 0, 5), 1, "7 of 10 used in the last 1m; 1 fits"),
            (
                Algorithm::SlidingWindow,
                standing(0, 12_345_678, 5),
                2,
                "10 of 10 used in the last 1m; 2 fits in 12.3s",
            ),
            (
                Algorithm::FixedWindow,
                standing(10, NEVER, 0),
                11,
                "0 of 10 used since the last multiple of 1m; 11 never fits",
            ),
            (
                Algorithm::Gcra,
                standing(4, 0, 0),
                0,
                "4 of a burst of 4 left, one more each 6s; nothing is asked for",
            ),
            (
                Algorithm::Concurrency,
                standing(9, 0, 90_061_000_000),
                1,
                "1 of 10 held, by leases of 1m; 1 fits",
            ),
        ] {
            assert_eq!(limit(algorithm).explain(standing, cost), told);
        }
        assert_eq!(span(90_061_000_000), "1d1h1m1s");
        assert_eq!(span(1), "1ms");
    }
}
