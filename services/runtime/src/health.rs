//! What a process can serve: per service for gRPC callers, and as a whole for
//! whoever routes to it.
//!
//! Degraded is not down: a degraded process stays ready, and the degradation
//! has a name of its own that health, diagnostics and metrics show.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

/// The health of one process, shared by its roles.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Arc<Mutex<BTreeSet<String>>>,
    ready: Arc<watch::Sender<bool>>,
    degraded: Arc<Degraded>,
}

/// The degraded states by who knows of them.
#[derive(Default)]
struct Degraded {
    /// What this process sees itself.
    seen: watch::Sender<BTreeSet<String>>,
    /// What other processes say of themselves.
    heard: Mutex<BTreeSet<String>>,
    all: watch::Sender<BTreeSet<String>>,
}

impl Health {
    /// Not ready, nothing degraded.
    pub(crate) fn new(reporter: HealthReporter) -> Self {
        let ready = Arc::new(watch::Sender::new(false));
        Self { reporter, services: Arc::default(), ready, degraded: Arc::default() }
    }

    /// Declares a service by its full name, serving or not.
    pub async fn set_service(&self, service: &str, serving: bool) {
        self.services.lock().insert(service.to_owned());
        self.report(service, serving).await;
    }

    async fn report(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(service, status).await;
    }

    /// Declares the process as a whole, and with it each of its services.
    pub async fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
        let services = self.services.lock().clone();
        for service in &services {
            self.report(service, ready).await;
        }
        self.report("", ready).await;
    }

    /// True when the process can serve its contract in some mode.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Enters or leaves a degraded state; `state` is one of a fixed set of
    /// names such as `presence`.
    pub fn set_degraded(&self, state: &'static str, degraded: bool) {
        let heard = self.degraded.heard.lock();
        self.degraded.seen.send_if_modified(|seen| put(seen, state, degraded));
        self.tell(state, degraded || heard.contains(state));
    }

    /// The same for what another process says of itself.
    pub(crate) fn set_heard(&self, state: &'static str, degraded: bool) {
        let mut heard = self.degraded.heard.lock();
        put(&mut heard, state, degraded);
        let seen = self.degraded.seen.borrow().contains(state);
        self.tell(state, degraded || seen);
    }

    fn tell(&self, state: &'static str, degraded: bool) {
        metrics::gauge!("mingle_degraded", "state" => state).set(f64::from(u8::from(degraded)));
        self.degraded.all.send_if_modified(|all| put(all, state, degraded));
    }

    /// The degraded states that hold now, and their changes.
    pub fn degraded(&self) -> watch::Receiver<BTreeSet<String>> {
        self.degraded.all.subscribe()
    }

    /// Those of them that this process sees itself.
    pub(crate) fn seen(&self) -> watch::Receiver<BTreeSet<String>> {
        self.degraded.seen.subscribe()
    }
}

/// True when that changed something.
fn put(states: &mut BTreeSet<String>, state: &str, holds: bool) -> bool {
    if holds { states.insert(state.to_owned()) } else { states.remove(state) }
}
