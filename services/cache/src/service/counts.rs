//! What was asked and found, by namespace, since the process started.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::{Counter, counter, describe_counter};

use crate::domain::Namespaces;

/// One number, told to Prometheus too.
pub(super) struct Count {
    here: AtomicU64,
    told: Counter,
}

impl Count {
    fn new(namespace: &str, what: &'static str) -> Self {
        let told =
            counter!("mingle_cache_total", "namespace" => namespace.to_owned(), "what" => what);
        Self { here: AtomicU64::new(0), told }
    }

    pub(super) fn add(&self, by: u64) {
        self.here.fetch_add(by, Relaxed);
        self.told.increment(by);
    }

    pub(super) fn get(&self) -> u64 {
        self.here.load(Relaxed)
    }
}

macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// Those of one namespace.
        pub(super) struct Of {
            $(pub(super) $name: Count,)*
        }

        impl Of {
            fn new(namespace: &str) -> Self {
                Self { $($name: Count::new(namespace, stringify!($name)),)* }
            }
        }
    };
}

counts!(
    hits,
    stale_hits,
    misses,
    loads,
    rejected_fills,
    local_hits,
    waits,
    failed_loads,
    stored_bytes,
);

/// See the module.
pub(super) struct Counts(HashMap<Arc<str>, Of>);

impl Counts {
    pub(super) fn new(namespaces: &Namespaces) -> Self {
        describe_counter!(
            "mingle_cache_total",
            "what was asked of the cache and found, by namespace: hits, stale_hits, misses, loads, \
             rejected_fills, local_hits, waits, failed_loads, stored_bytes"
        );
        let of = |name: &Arc<str>| (name.clone(), Of::new(name));
        Self(namespaces.values().map(|namespace| of(&namespace.name)).collect())
    }

    /// Those of a namespace of the configuration.
    pub(super) fn of(&self, namespace: &str) -> Option<&Of> {
        self.0.get(namespace)
    }
}
