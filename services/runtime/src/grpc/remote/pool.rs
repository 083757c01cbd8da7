//! The instances of a role as they are known now, and the choice among them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Uri;
use parking_lot::RwLock;

use super::{Address, Endpoint, address, group::Group};

/// Names are resolved again after this time.
const RESOLVE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Pool {
    group: Arc<Group>,
    endpoints: RwLock<Vec<Arc<Endpoint>>>,
    next: AtomicUsize,
}

impl Pool {
    /// Knows the addresses at once; names are resolved as long as the pool is
    /// held by anyone.
    pub(super) fn start(role: &'static str, addresses: Vec<Address>) -> Arc<Self> {
        let mut fixed = BTreeSet::new();
        let mut names = Vec::new();
        for address in addresses {
            match address {
                Address::One(uri) => drop(fixed.insert(uri.to_string())),
                Address::Name(name) => names.push(name),
            }
        }
        // Not every process begins with the same instance.
        let next = AtomicUsize::new(rand::random_range(0..1 << 16));
        let group = Arc::new(Group::new(role));
        let pool = Arc::new(Self { group, endpoints: RwLock::default(), next });
        pool.replace(&fixed);
        if !names.is_empty() {
            tokio::spawn(resolve(Arc::downgrade(&pool), fixed, names));
        }
        pool
    }

    /// All of them.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.read().clone()
    }

    /// An instance that is not ejected, other than `not` where there is
    /// another: by preference of `key`, or else in turn, those first whose
    /// answers are not marked as degraded. Where all are ejected, one that at
    /// least answers, or else any.
    pub(super) fn pick(&self, key: Option<&[u8]>, not: Option<&Endpoint>) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.read();
        let is_other = |one: &&Arc<Endpoint>| not.is_none_or(|not| !std::ptr::eq(&***one, not));
        let well = || endpoints.iter().filter(is_other).filter(|one| !one.is_ejected());
        let whole = || well().filter(|one| key.is_none() && !one.is_marked());
        let answers = || endpoints.iter().filter(|one| one.answers());
        let answering = || answers().filter(is_other);
        let other = || endpoints.iter().filter(is_other);
        // One may be ejected between the count and the choice.
        self.choose(whole(), whole().count(), key)
            .or_else(|| self.choose(well(), well().count(), key))
            .or_else(|| self.choose(answering(), answering().count(), key))
            .or_else(|| answers().next().cloned())
            .or_else(|| self.choose(other(), other().count(), key))
            .or_else(|| endpoints.first().cloned())
    }

    fn choose<'a>(
        &self,
        mut among: impl Iterator<Item = &'a Arc<Endpoint>>,
        count: usize,
        key: Option<&[u8]>,
    ) -> Option<Arc<Endpoint>> {
        match key {
            Some(key) => among.max_by_key(|one| one.weight(key)).cloned(),
            None if count == 0 => None,
            None => among.nth(self.next.fetch_add(1, Ordering::Relaxed) % count).cloned(),
        }
    }

    /// Takes over which instances there are; those that stay keep their
    /// connections.
    fn replace(&self, uris: &BTreeSet<String>) {
        let mut endpoints = self.endpoints.write();
        endpoints.retain(|one| uris.contains(&one.uri.to_string()));
        for uri in uris {
            let known = endpoints.iter().any(|one| one.uri.to_string() == *uri);
            if !known && let Ok(uri) = uri.parse::<Uri>() {
                endpoints.push(Arc::new(Endpoint::new(self.group.clone(), uri)));
            }
        }
    }
}

/// A name that cannot be resolved keeps the instances it had.
async fn resolve(pool: Weak<Pool>, fixed: BTreeSet<String>, names: Vec<String>) {
    let mut tick = tokio::time::interval(RESOLVE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut found = vec![BTreeSet::new(); names.len()];
    loop {
        tick.tick().await;
        for (name, found) in names.iter().zip(&mut found) {
            match address::instances(name).await {
                Ok(instances) => *found = instances,
                Err(error) => tracing::warn!(name, %error, "peers not resolved"),
            }
        }
        let Some(pool) = pool.upgrade() else { return };
        let all = fixed.iter().chain(found.iter().flatten()).cloned().collect();
        pool.replace(&all);
    }
}
