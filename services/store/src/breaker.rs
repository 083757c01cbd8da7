//! Decides whether a primary is worth asking.
//!
//! `Closed` → (enough transient failures within a window, or loss of its
//! heartbeat) → `Open` → (cooldown over, one probe succeeded) → `Closed`.
//! Users' requests never probe: while it is open they go to the secondary.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// When to open and how long to stay so.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failures within the window that are needed to open.
    pub min_failures: u32,
    /// And the share of calls that failed, above which it opens.
    pub failure_share: f64,
    /// How long calls are counted together.
    pub window: Duration,
    /// How long to wait before a probe, and between probes.
    pub cooldown: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_failures: 20,
            failure_share: 0.5,
            window: Duration::from_secs(1),
            cooldown: Duration::from_secs(1),
        }
    }
}

#[derive(Debug)]
struct Window {
    open: bool,
    started: Instant,
    calls: u32,
    failures: u32,
}

/// A breaker for one primary. Cheap: one short lock a call.
#[derive(Debug)]
pub struct Breaker {
    name: &'static str,
    policy: Policy,
    window: Mutex<Window>,
    is_open: watch::Sender<bool>,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(name: &'static str, policy: Policy) -> Self {
        let window = Window { open: false, started: Instant::now(), calls: 0, failures: 0 };
        Self { name, policy, window: Mutex::new(window), is_open: watch::Sender::new(false) }
    }

    /// True while the primary must not be asked.
    pub fn is_open(&self) -> bool {
        self.window.lock().open
    }

    /// Whether it is open, and each flip: for a gauge and a health entry.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.is_open.subscribe()
    }

    /// What it is before.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The pause between probes.
    pub fn cooldown(&self) -> Duration {
        self.policy.cooldown
    }

    /// Counts a call of the primary; `failed` only for transient errors.
    pub fn record(&self, failed: bool) {
        let mut window = self.window.lock();
        if window.started.elapsed() >= self.policy.window {
            window.started = Instant::now();
            window.calls = 0;
            window.failures = 0;
        }
        window.calls = window.calls.saturating_add(1);
        window.failures = window.failures.saturating_add(u32::from(failed));
        let share = f64::from(window.failures) / f64::from(window.calls);
        if window.failures >= self.policy.min_failures && share > self.policy.failure_share {
            self.flip(&mut window, true);
        }
    }

    /// Opens at once: the primary's heartbeat is lost.
    pub fn open(&self) {
        self.flip(&mut self.window.lock(), true);
    }

    /// Closes: a probe succeeded.
    pub fn close(&self) {
        self.flip(&mut self.window.lock(), false);
    }

    /// Changes state; one log line per flip, however many calls cause it.
    fn flip(&self, window: &mut Window, open: bool) {
        if window.open == open {
            return;
        }
        *window = Window { open, started: Instant::now(), calls: 0, failures: 0 };
        self.is_open.send_replace(open);
        if open {
            tracing::warn!(backend = self.name, "backend degraded, its secondary serves");
        } else {
            tracing::info!(backend = self.name, "backend recovered, its primary serves");
        }
    }
}
