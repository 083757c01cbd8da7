//! What many ask for and few are to make: a value that is made anew when somebody
//! asks and it is older than a second, once for all who ask meanwhile.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

/// Nobody is told what was begun to be found out earlier.
const AGE: Duration = Duration::from_secs(1);

/// See the module. Whoever asks and goes away stops nothing.
#[derive(Debug)]
pub struct Fresh<T> {
    kept: Mutex<Option<Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    begun: Instant,
    made: watch::Receiver<Option<T>>,
}

impl<T> Kept<T> {
    /// Worth waiting for.
    fn is_good(&self) -> bool {
        let is_made = self.made.borrow().is_some();
        // A maker that panicked leaves nothing behind.
        let is_under_way = !is_made && self.made.has_changed().is_ok();
        is_under_way || (is_made && self.begun.elapsed() < AGE)
    }
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self { kept: Mutex::new(None) }
    }
}

impl<T: Clone + Send + Sync + 'static> Fresh<T> {
    /// The value, which `make` makes in a task of its own if that is due: one at
    /// a time, however long it takes. `None` when it panicked.
    ///
    /// Must be called where tasks can be spawned.
    pub async fn get<F>(&self, make: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut made = {
            let mut kept = self.kept.lock();
            match kept.as_ref().filter(|kept| kept.is_good()) {
                Some(good) => good.made.clone(),
                None => {
                    let (done, made) = watch::channel(None);
                    let making = make();
                    tokio::spawn(async move { done.send_replace(Some(making.await)) });
                    *kept = Some(Kept { begun: Instant::now(), made: made.clone() });
                    made
                }
            }
        };
        made.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
    };

    use tokio::time::{advance, timeout};

    use super::*;

    type Making = Pin<Box<dyn Future<Output = u32> + Send>>;

    /// Makes 1, 2, 3, … and takes so long for each.
    fn maker(takes: Duration) -> (Arc<AtomicU32>, impl Fn() -> Making) {
        let made = Arc::<AtomicU32>::default();
        let count = made.clone();
        let make = move || -> Making {
            let count = count.clone();
            Box::pin(async move {
                let _ = timeout(takes, pending::<()>()).await;
                count.fetch_add(1, Relaxed) + 1
            })
        };
        (made, make)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_at_once_cost_one() {
        let fresh = Arc::new(Fresh::default());
        let (made, make) = maker(AGE / 2);
        let make = Arc::new(make);
        let ask = || {
            let (fresh, make) = (fresh.clone(), make.clone());
            tokio::spawn(async move { fresh.get(|| make()).await })
        };
        let asked: Vec<_> = (0..100).map(|_| ask()).collect();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), Some(1));
        }
        assert_eq!(fresh.get(|| make()).await, Some(1), "young enough");
        advance(AGE).await;
        assert_eq!(fresh.get(|| make()).await, Some(2));
        assert_eq!(made.load(Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_stops_nothing_and_nobody_is_told_what_is_old() {
        let fresh = Fresh::default();
        let (made, make) = maker(AGE * 5);
        for _ in 0..3 {
            assert!(timeout(AGE, fresh.get(&make)).await.is_err());
        }
        advance(AGE * 100).await;
        tokio::task::yield_now().await;
        assert_eq!(made.load(Relaxed), 1, "one at a time");
        assert_eq!(fresh.get(&make).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_maker_that_fails_is_followed_by_another() {
        let fresh = Fresh::<u32>::default();
        assert_eq!(fresh.get(|| async { panic!("planted") }).await, None);
        assert_eq!(fresh.get(|| async { 7 }).await, Some(7));
    }
}
