//! Each algorithm, and what it promises.

use std::time::Duration;

/// A limit with a subject of its own.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    algorithm: &'static str,
    pub(super) quota: u64,
    pub(super) window: Duration,
    burst: Option<u64>,
}

const SECOND: Duration = Duration::from_secs(1);

pub(super) const KINDS: [Kind; 6] = [
    kind("sliding", "sliding_window", 20, None),
    kind("coarse", "sliding_window", 300, None),
    kind("paced", "gcra", 20, Some(5)),
    kind("bucket", "token_bucket", 20, Some(10)),
    kind("fixed", "fixed_window", 20, None),
    kind("jobs", "concurrency", 8, None),
];
/// Asked for without a pause.
pub(super) const HOT: [Kind; 5] = [
    hot("hot_sliding", "sliding_window", 120, None),
    hot("hot_coarse", "sliding_window", 300, None),
    hot("hot_paced", "gcra", 200, Some(100)),
    hot("hot_bucket", "token_bucket", 150, Some(150)),
    hot("hot_fixed", "fixed_window", 150, None),
];
/// Stacked upon another.
pub(super) const NARROW: Kind = kind("narrow", "sliding_window", 15, None);
/// The same of what is held.
pub(super) const FLEET: Kind = kind("fleet", "concurrency", 6, None);
/// Counts all that stands, and is never used up.
pub(super) const ALL: Kind =
    Kind { window: Duration::from_secs(3600), ..kind("all", "sliding_window", 1_000_000, None) };

const fn kind(name: &'static str, algorithm: &'static str, quota: u64, burst: Option<u64>) -> Kind {
    Kind { name, algorithm, quota, window: Duration::from_secs(2), burst }
}

const fn hot(name: &'static str, algorithm: &'static str, quota: u64, burst: Option<u64>) -> Kind {
    Kind { window: SECOND, ..kind(name, algorithm, quota, burst) }
}

impl Kind {
    /// Of the name of a limit.
    pub(super) fn of(name: &str) -> &'static Self {
        let all = KINDS.iter().chain(&HOT).chain([&NARROW, &FLEET, &ALL]);
        all.into_iter().find(|kind| kind.name == name).expect("it is configured")
    }

    pub(super) fn is_held(&self) -> bool {
        self.algorithm == "concurrency"
    }

    /// The most that any window admits, as README.md of ratelimit says.
    pub(super) fn promised(&self) -> u64 {
        match (self.algorithm, self.burst) {
            ("fixed_window", _) => 2 * self.quota,
            (_, burst) => self.quota + burst.unwrap_or(0),
        }
    }

    /// What the windows of so long a time admit at least, of those who want more: not
    /// the first of them, and half of it.
    pub(super) fn least(&self, time: Duration) -> u64 {
        let windows = time.saturating_sub(SECOND).div_duration_f64(self.window) as u64;
        windows.saturating_sub(1) * self.quota / 2
    }

    /// Lines of the configuration.
    pub(super) fn toml(&self) -> String {
        let Self { name, algorithm, quota, window, burst } = self;
        let burst = burst.map(|burst| format!("burst = {burst}\n")).unwrap_or_default();
        let window = window.as_secs();
        format!(
            "[ratelimit.limits.{name}]\nalgorithm = \"{algorithm}\"\nquota = {quota}\n\
             window = \"{window}s\"\n{burst}"
        )
    }
}
