//! What a process can serve: per service for gRPC callers, and as a whole for
//! whoever routes to it.
//!
//! Degraded is not down: a degraded process stays ready, and the degradation
//! has a name of its own that health, diagnostics, metrics and the log show.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    Role,
    spent::Spent,
    states::{Fault, States},
};

/// The health of one process, shared by its roles.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Arc<Mutex<BTreeSet<String>>>,
    ready: Arc<watch::Sender<bool>>,
    degraded: Arc<Degraded>,
    spent: Arc<Spent>,
}

/// The degraded states by who knows of them.
#[derive(Default)]
struct Degraded {
    /// What this process sees itself.
    seen: watch::Sender<BTreeSet<String>>,
    others: Mutex<Others>,
    all: watch::Sender<States>,
}

/// What is known of roles in other processes.
#[derive(Default)]
struct Others {
    /// What they say of themselves.
    heard: BTreeMap<Role, BTreeSet<String>>,
    /// Those of which no instance answers.
    unreached: BTreeSet<Role>,
}

impl Health {
    /// Not ready, nothing degraded.
    pub(crate) fn new(reporter: HealthReporter) -> Self {
        let ready = Arc::new(watch::Sender::new(false));
        let (services, degraded) = Default::default();
        Self { reporter, services, ready, degraded, spent: Spent::shown() }
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
    /// names such as `presence`; see [`crate::states`].
    pub fn set_degraded(&self, state: &'static str, degraded: bool) {
        let others = self.degraded.others.lock();
        self.degraded.seen.send_if_modified(|seen| put(seen, state, degraded));
        self.tell(&others);
        // A state that never held is shown as such too.
        self.show(state, self.degraded.all.borrow().contains(state));
    }

    /// Takes what another process says of itself, of which `role` was asked.
    pub(crate) fn set_heard(&self, role: Role, said: BTreeSet<String>) {
        let mut others = self.degraded.others.lock();
        others.heard.insert(role, said);
        self.tell(&others);
    }

    /// Whether no instance of `role` answers.
    pub(crate) fn set_unreached(&self, role: Role, unreached: bool) {
        let mut others = self.degraded.others.lock();
        if unreached {
            others.unreached.insert(role);
        } else {
            others.unreached.remove(&role);
        }
        self.tell(&others);
    }

    /// Called under the lock of `others`, so that the last word is of the last
    /// change.
    fn tell(&self, others: &Others) {
        let mut now = States::default();
        for state in &*self.degraded.seen.borrow() {
            now.add(state, Fault::default());
        }
        for role in &others.unreached {
            now.add(role.name(), Fault { is_unreached: true, ..Fault::default() });
        }
        for (role, said) in &others.heard {
            now.hear(*role, said);
        }
        self.degraded.all.send_if_modified(|before| {
            let is_new = *before != now;
            if is_new {
                self.log(before, &now);
                *before = now;
            }
            is_new
        });
    }

    /// One line for each state that begins, gets worse or ends, and of no call: the
    /// one that noticed is not the cause.
    fn log(&self, before: &States, now: &States) {
        for (state, fault) in now.iter() {
            let known = before.get(state);
            let is_known = known.is_some_and(|known| {
                known.is_unreached >= fault.is_unreached && known.causes.is_superset(&fault.causes)
            });
            if known.is_none() {
                self.show(state, true);
            }
            if !is_known {
                let causes = (!fault.causes.is_empty()).then(|| list(&fault.causes));
                if fault.is_unreached {
                    tracing::warn!(parent: None, state, causes, "unavailable: no instance answers");
                } else {
                    tracing::warn!(parent: None, state, causes, "degraded");
                }
            }
        }
        for state in before.names().filter(|state| !now.contains(state)) {
            self.show(state, false);
            tracing::info!(parent: None, state, "well again");
        }
    }

    fn show(&self, state: &str, degraded: bool) {
        metrics::gauge!("mingle_degraded", "state" => state.to_owned())
            .set(f64::from(u8::from(degraded)));
        self.spent.set(state, degraded);
    }

    /// The degraded states that hold now, and their changes.
    pub fn degraded(&self) -> watch::Receiver<States> {
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

fn list(causes: &BTreeSet<String>) -> String {
    let causes: Vec<&str> = causes.iter().map(String::as_str).collect();
    causes.join(",")
}
