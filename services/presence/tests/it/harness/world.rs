//! A store, its clock, and short names for what is asked of it.

use std::{sync::Arc, time::Duration};

use mingle_presence::{
    domain::{Claim, Ended, Lost, Node, Presence, Status, Terms},
    store::{Connected, Limits, Registered, Store, redis::Patience},
};
use mingle_store::clock::ManualClock;
use mingle_testkit::Redis as Server;

pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const TERMS: Terms =
    Terms { lease_ms: 3_000, grace_ms: 10_000, max_sessions_per_user: 20 };
/// Small, so that the tests reach them.
pub(crate) const LIMITS: Limits =
    Limits { max_nodes: 4, max_sessions: 300, max_last_seen: 10, sweep_users: 16 };

/// Where the time is the test's, a silence would be of the machine's.
pub(crate) const NEVER_RESTS: Patience =
    Patience { silence: Duration::from_secs(3_600), rest: Duration::ZERO };

/// A store and its clock.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    /// What the store is kept in, where that is a server of its own.
    pub(crate) _server: Option<Server>,
}

pub(crate) fn node(node_id: &str, generation: u64) -> Node {
    Node {
        node_id: node_id.to_owned(),
        role: "gateway".to_owned(),
        version: "1".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        generation,
    }
}

pub(crate) fn claim(user: &str, session: &str, generation: u64, connection: &str) -> Claim {
    Claim {
        user_id: user.to_owned(),
        session_id: session.to_owned(),
        generation,
        connection_id: connection.to_owned(),
        status: None,
    }
}

pub(crate) fn lost(node: &str, session: &str, generation: u64, connection: &str) -> Lost {
    Lost {
        node_id: node.to_owned(),
        session_id: session.to_owned(),
        generation,
        connection_id: connection.to_owned(),
    }
}

/// Any socket of a generation.
pub(crate) const fn any(generation: u64) -> Ended<'static> {
    Ended { generation, connection_id: None }
}

/// Accepted without anyone losing the session.
pub(crate) const fn accepted(changed: bool) -> Connected {
    Connected::Accepted { lost: None, changed }
}

impl World {
    pub(crate) async fn register(&self, node_id: &str, generation: u64) {
        let registered = self.store.register_node(node(node_id, generation)).await.unwrap();
        assert_eq!(registered, Registered::Leased);
    }

    pub(crate) async fn connect(
        &self,
        node: &str,
        user: &str,
        session: &str,
        generation: u64,
    ) -> Connected {
        let connection = format!("{node}/{user}/{session}/{generation}");
        self.store.connect(node, claim(user, session, generation, &connection)).await.unwrap()
    }

    pub(crate) async fn status(&self, user: &str) -> Option<Status> {
        self.get(user).await.status
    }

    pub(crate) async fn get(&self, user: &str) -> Presence {
        let mut found = self.store.get_many(&[user.to_owned()]).await.unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    /// Moves time on, renewing the node all the while.
    pub(crate) async fn pass_renewing(&self, node: &str, generation: u64, ms: i64) {
        for _ in 0..ms / 1_000 {
            self.clock.advance(1_000);
            assert!(self.store.renew_node(node, generation).await.unwrap());
        }
        self.clock.advance(ms % 1_000);
    }

    /// Sweeps as often as any backlog of these tests needs; who changed, sorted.
    pub(crate) async fn sweep(&self) -> Vec<String> {
        let mut changed = Vec::new();
        for _ in 0..64 {
            changed.extend(self.store.sweep().await.unwrap());
        }
        changed.sort_unstable();
        changed
    }
}
