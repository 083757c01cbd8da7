//! What was last known, for as long as the store does not answer.

use std::time::Duration;

use async_trait::async_trait;
use mingle_store::Result;
use moka::sync::Cache;
use parking_lot::Mutex;

use super::{Connected, Registered, Set, Store, Stored, Totals};
use crate::domain::{Claim, Ended, Lost, Node, Presence, Status};

/// Users that are remembered; beyond, those read least. About 150 bytes each.
const MAX_KNOWN: u64 = 100_000;

/// A store whose reads of users and totals always answer.
///
/// **Degraded**: while `inner` fails with transient errors everybody is unknown,
/// with what this process read of them last, and the count is the last one.
/// Everything else fails as it does.
pub struct Known<S> {
    inner: S,
    users: Cache<String, (Option<i64>, u32)>,
    totals: Mutex<Option<Totals>>,
}

impl<S: Store> Known<S> {
    /// Remembers what `inner` answers.
    pub fn new(inner: S) -> Self {
        Self { inner, users: Cache::new(MAX_KNOWN), totals: Mutex::default() }
    }

    fn last_known(&self, user_id: &String) -> Presence {
        let (last_seen, sessions) = self.users.get(user_id).unwrap_or_default();
        Presence {
            user_id: user_id.clone(),
            status: None,
            unknown: true,
            unreadable: false,
            last_seen,
            sessions,
        }
    }
}

#[async_trait]
impl<S: Store> Store for Known<S> {
    async fn register_node(&self, node: Node) -> Result<Registered> {
        self.inner.register_node(node).await
    }

    async fn renew_node(&self, node_id: &str, generation: u64) -> Result<bool> {
        self.inner.renew_node(node_id, generation).await
    }

    async fn register_sessions(&self, node_id: &str, claims: Vec<Claim>) -> Result<Stored> {
        self.inner.register_sessions(node_id, claims).await
    }

    async fn connect(&self, node_id: &str, claim: Claim) -> Result<Connected> {
        self.inner.connect(node_id, claim).await
    }

    async fn disconnect(&self, user_id: &str, session_id: &str, ended: Ended<'_>) -> Result<bool> {
        self.inner.disconnect(user_id, session_id, ended).await
    }

    async fn set_status(&self, user_id: &str, session_id: &str, status: Status) -> Result<Set> {
        self.inner.set_status(user_id, session_id, status).await
    }

    async fn get_many(&self, user_ids: &[String]) -> Result<Vec<Presence>> {
        match self.inner.get_many(user_ids).await {
            Err(error) if error.is_transient() => {
                Ok(user_ids.iter().map(|user_id| self.last_known(user_id)).collect())
            }
            Err(error) => Err(error),
            Ok(presences) => {
                for presence in presences.iter().filter(|it| !it.unknown) {
                    let known = (presence.last_seen, presence.sessions);
                    self.users.insert(presence.user_id.clone(), known);
                }
                Ok(presences)
            }
        }
    }

    async fn count(&self) -> Result<Totals> {
        let counted = self.inner.count().await;
        let known = &mut *self.totals.lock();
        match (counted, *known) {
            (Err(error), Some(totals)) if error.is_transient() => Ok(totals),
            (Ok(totals), _) => Ok(*known.insert(totals)),
            (Err(error), _) => Err(error),
        }
    }

    async fn list_nodes(&self) -> Result<Vec<Node>> {
        self.inner.list_nodes().await
    }

    async fn sweep(&self) -> Result<Vec<String>> {
        self.inner.sweep().await
    }

    async fn lost(&self) -> Result<Vec<Lost>> {
        self.inner.lost().await
    }

    fn pause(&self) -> Duration {
        self.inner.pause()
    }

    fn is_reached(&self) -> bool {
        self.inner.is_reached()
    }

    fn rests(&self) -> Option<Duration> {
        self.inner.rests()
    }
}
