//! What was asked and found, by namespace, since the process started.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ahash::AHashMap;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use mingle_runtime::telemetry;

use crate::{
    domain::{Namespaces, Outcome, Read},
    store::KEPT,
};

/// One number, told to Prometheus when that asks: what is counted for each call is counted
/// once.
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
    }

    fn tell(&self) {
        self.told.absolute(self.get());
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
            took: Histogram,
        }

        impl Of {
            fn new(namespace: &str) -> Self {
                let took = histogram!(READ, "namespace" => namespace.to_owned());
                Self { $($name: Count::new(namespace, stringify!($name)),)* took }
            }

            fn tell(&self) {
                $(self.$name.tell();)*
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
    read_us,
);

const READ: &str = "mingle_cache_read_seconds";

impl Of {
    /// A key was read.
    pub(super) fn read(&self, read: &Read) {
        let by = match read.outcome {
            Outcome::Hit => &self.hits,
            Outcome::Stale | Outcome::StaleLoad => &self.stale_hits,
            _ => &self.misses,
        };
        by.add(1);
        if read.lease.is_some() {
            self.loads.add(1);
        }
        if read.local {
            self.local_hits.add(1);
        }
    }

    /// A call that reads took so long.
    pub(super) fn took(&self, time: Duration) {
        self.read_us.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        self.took.record(time);
    }
}

/// See the module.
pub(super) struct Counts(Arc<AHashMap<Arc<str>, Of>>);

impl Counts {
    pub(super) fn new(namespaces: &Namespaces) -> Self {
        describe_counter!(
            "mingle_cache_total",
            "what was asked of the cache and found, by namespace: hits, stale_hits, misses, loads, \
             rejected_fills, local_hits, waits, failed_loads, stored_bytes, read_us"
        );
        describe_counter!(
            KEPT,
            "bytes that the values of stored_bytes became which Redis keeps, by namespace"
        );
        describe_histogram!(
            READ,
            Unit::Seconds,
            "calls that read, of one key or of several, with what they waited for"
        );
        let of = |name: &Arc<str>| (name.clone(), Of::new(name));
        let all = namespaces.values().map(|namespace| of(&namespace.name));
        let all: Arc<AHashMap<_, _>> = Arc::new(all.collect());
        let shown = Arc::downgrade(&all);
        let show = move || shown.upgrade().map(|all| all.values().for_each(Of::tell)).is_some();
        telemetry::observe(show);
        Self(all)
    }

    /// Those of a namespace of the configuration.
    pub(super) fn of(&self, namespace: &str) -> Option<&Of> {
        self.0.get(namespace)
    }

    /// Counts something of a namespace.
    pub(super) fn add(&self, namespace: &str, count: impl FnOnce(&Of)) {
        if let Some(of) = self.of(namespace) {
            count(of);
        }
    }
}
