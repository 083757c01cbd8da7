//! What the service asks, as a store: it keeps together with others while that can be.

use async_trait::async_trait;
use mingle_cache::{
    domain::{Ask, Fill, Filled, Found, Key, Mark, Put},
    store::{Changes, Keeper, Store},
};
use mingle_store::{Result, failover::Served};

pub(crate) struct Kept(pub(crate) Keeper);

/// Nothing is away in these tests.
fn shared<T>(served: Served<T>) -> T {
    assert!(!served.degraded, "it was kept alone");
    served.value
}

#[async_trait]
impl Store for Kept {
    async fn look(&self, asks: &[Ask]) -> Vec<Result<Found>> {
        shared(self.0.look(asks).await).into_iter().map(Ok).collect()
    }

    async fn put(&self, puts: &[Put]) -> Vec<Result<bool>> {
        let stored = self.0.put(puts).await.unwrap();
        shared(stored).into_iter().map(Ok).collect()
    }

    async fn fill(&self, fill: &Fill) -> Result<Filled> {
        Ok(self.0.fill(fill).await)
    }

    async fn touch(&self, key: &Key, version: u64, soft_us: u64, hard_us: u64) -> Result<bool> {
        Ok(self.0.touch(key, version, soft_us, hard_us).await)
    }

    async fn delete(&self, keys: &[Key]) -> Result<()> {
        assert!(self.0.void(&Changes { keys: keys.to_vec(), marks: Vec::new() }).await);
        Ok(())
    }

    async fn versions(&self, marks: &[Mark]) -> Result<Vec<u64>> {
        Ok(shared(self.0.versions(marks).await))
    }

    async fn renew(&self, marks: &[Mark]) -> Result<()> {
        assert!(self.0.void(&Changes { keys: Vec::new(), marks: marks.to_vec() }).await);
        Ok(())
    }
}
