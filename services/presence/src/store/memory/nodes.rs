//! The nodes and their leases.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use parking_lot::RwLock;

use crate::{
    domain::{Lease, Node, Terms},
    store::Registered,
};

/// Stands for "not replaced".
const NEVER: i64 = i64::MAX;

/// One start of a node. Its sessions point here, also after it was replaced.
pub(super) struct Incarnation {
    /// The node, for those who must be told that a session was lost.
    pub(super) node_id: Box<str>,
    renewed_at: AtomicI64,
    replaced_at: AtomicI64,
    /// Sessions whose socket is open.
    open: AtomicI64,
}

impl Incarnation {
    fn new(node_id: &str, now: i64) -> Self {
        Self {
            node_id: node_id.into(),
            renewed_at: AtomicI64::new(now),
            replaced_at: AtomicI64::new(NEVER),
            open: AtomicI64::new(0),
        }
    }

    /// The lease as it is now.
    pub(super) fn lease(&self) -> Lease {
        let replaced_at = self.replaced_at.load(Ordering::Acquire);
        Lease {
            renewed_at: self.renewed_at.load(Ordering::Acquire),
            replaced_at: (replaced_at != NEVER).then_some(replaced_at),
        }
    }

    /// Counts a socket that opened (1) or closed (-1).
    pub(super) fn count(&self, sockets: i64) {
        self.open.fetch_add(sockets, Ordering::Relaxed);
    }
}

struct Entry {
    node: Node,
    incarnation: Arc<Incarnation>,
    /// The lapse of its lease was seen already.
    noticed: bool,
}

/// The current start of each node.
pub(super) struct Nodes {
    entries: RwLock<HashMap<String, Entry>>,
    terms: Terms,
    max: usize,
}

impl Nodes {
    pub(super) fn new(terms: Terms, max: usize) -> Self {
        Self { entries: RwLock::default(), terms, max }
    }

    /// The answer, and whether sessions of an older start ended by it.
    pub(super) fn register(&self, node: Node, now: i64) -> (Registered, bool) {
        let mut entries = self.entries.write();
        if entries.len() >= self.max && !entries.contains_key(&node.node_id) {
            entries.retain(|_, entry| !entry.incarnation.lease().is_gone(now, &self.terms));
            if entries.len() >= self.max {
                return (Registered::Full, false);
            }
        }
        let mut replaces = false;
        if let Some(entry) = entries.get_mut(&node.node_id) {
            let held = entry.node.generation;
            let renewable = entry.incarnation.lease().is_renewable(now, &self.terms);
            if renewable && held > node.generation {
                return (Registered::Superseded(held), false);
            }
            if renewable && held == node.generation {
                entry.incarnation.renewed_at.fetch_max(now, Ordering::AcqRel);
                entry.noticed = false;
                entry.node = node;
                return (Registered::Leased, false);
            }
            entry.incarnation.replaced_at.store(now, Ordering::Release);
            replaces = true;
        }
        let incarnation = Arc::new(Incarnation::new(&node.node_id, now));
        let entry = Entry { node, incarnation, noticed: false };
        entries.insert(entry.node.node_id.clone(), entry);
        (Registered::Leased, replaces)
    }

    pub(super) fn renew(&self, node_id: &str, generation: u64, now: i64) -> bool {
        let mut entries = self.entries.write();
        let found = entries.get_mut(node_id).filter(|entry| {
            entry.node.generation == generation
                && entry.incarnation.lease().is_renewable(now, &self.terms)
        });
        if let Some(entry) = found {
            entry.incarnation.renewed_at.fetch_max(now, Ordering::AcqRel);
            entry.noticed = false;
            return true;
        }
        false
    }

    /// The current start of a node that is not gone.
    pub(super) fn get(&self, node_id: &str, now: i64) -> Option<Arc<Incarnation>> {
        let entries = self.entries.read();
        let incarnation = &entries.get(node_id)?.incarnation;
        incarnation.lease().is_renewable(now, &self.terms).then(|| incarnation.clone())
    }

    /// The nodes whose lease holds, by id.
    pub(super) fn list(&self, now: i64) -> Vec<Node> {
        let mut nodes: Vec<_> = self.holding(now, |entry| entry.node.clone());
        nodes.sort_unstable();
        nodes
    }

    /// Sessions that are live.
    pub(super) fn sessions(&self, now: i64) -> u64 {
        let open = self.holding(now, |entry| entry.incarnation.open.load(Ordering::Relaxed));
        open.into_iter().map(|open| u64::try_from(open).unwrap_or(0)).sum()
    }

    fn holding<T>(&self, now: i64, of: impl Fn(&Entry) -> T) -> Vec<T> {
        let entries = self.entries.read();
        let holding =
            entries.values().filter(|entry| entry.incarnation.lease().holds(now, &self.terms));
        holding.map(of).collect()
    }

    /// True when a lease lapsed since the last call. Forgets nodes that are
    /// gone.
    pub(super) fn notice_lapses(&self, now: i64) -> bool {
        let lapsed = |entry: &Entry| !entry.incarnation.lease().holds(now, &self.terms);
        if !self.entries.read().values().any(lapsed) {
            return false;
        }
        let mut found = false;
        self.entries.write().retain(|_, entry| {
            if lapsed(entry) && !entry.noticed {
                entry.noticed = true;
                found = true;
            }
            !entry.incarnation.lease().is_gone(now, &self.terms)
        });
        found
    }
}
