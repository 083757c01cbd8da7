//! `get_or_load` of mingle-client over the role.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use mingle_client::cache::{Applied, Cache};
use mingle_proto::cache::v1::Outcome;
use mingle_runtime::grpc::{Routes, Transport};
use mingle_testkit::eventually;
use tokio::time::timeout;

use super::stage::{Instance, alone, entry, get, several};
use crate::world::SOON;

type Loaded = Result<Option<u32>, &'static str>;

fn of(one: &Instance, namespace: &str) -> Cache<Transport> {
    // No answer is to be late here, on however slow a machine.
    Cache::new(one.transport.clone(), namespace).with_patience(SOON, SOON)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_callers_one_loads() {
    let (instances, _server) = several(2).await;
    let caches = [of(&instances[0], "plain"), of(&instances[1], "plain")];
    let loads = Arc::new(AtomicUsize::new(0));
    let asking = (0..200).map(|n| {
        let (cache, loads) = (caches[n % 2].clone(), loads.clone());
        tokio::spawn(async move {
            let loader = || async {
                loads.fetch_add(1, SeqCst);
                Ok(Some(42))
            };
            let loaded: Loaded = cache.get_or_load("a", None, &["x"], loader).await;
            loaded
        })
    });
    for loaded in join_all(asking).await {
        assert_eq!(loaded.unwrap(), Ok(Some(42)));
    }
    assert_eq!(loads.load(SeqCst), 1);
    instances[0].invalidate("x").await;
    let again: Loaded = caches[0].get_or_load("a", None, &["x"], async || Ok(Some(43))).await;
    assert_eq!(again, Ok(Some(43)), "it carries its tag");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loader_that_fails_is_an_error_only_where_nothing_is_stale() {
    let one = alone().await;
    let cache = of(&one, "brief");
    let fails = async || -> Loaded { Err("the source is away") };
    assert_eq!(cache.get_or_load("a", None, &[], fails).await, Err("the source is away"));
    let loaded: Loaded = cache.get_or_load("a", None, &[], async || Ok(Some(1))).await;
    assert_eq!(loaded, Ok(Some(1)), "the next one loads at once");
    eventually(SOON, "it is stale", async || {
        let tried = AtomicUsize::new(0);
        let fails = async || -> Loaded {
            tried.fetch_add(1, SeqCst);
            Err("the source is away")
        };
        assert_eq!(cache.get_or_load("a", None, &[], fails).await, Ok(Some(1)));
        tried.load(SeqCst) == 1
    })
    .await;
    let spared: Loaded = cache.get_or_load("a", None, &[], fails).await;
    assert_eq!(spared, Ok(Some(1)), "served on");
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_is_kept_and_what_is_foreign_is_replaced() {
    let one = alone().await;
    let cache = of(&one, "absent");
    let none: Loaded = cache.get_or_load("a", None, &[], async || Ok(None)).await;
    assert_eq!(none, Ok(None));
    let kept =
        cache.get_or_load("a", None, &[], async || -> Loaded { panic!("it is known") }).await;
    assert_eq!(kept, Ok(None));
    one.set_in("absent", entry("b", "no number")).await;
    let loaded: Loaded = cache.get_or_load("b", None, &[], async || Ok(Some(2))).await;
    assert_eq!(loaded, Ok(Some(2)));
    let read = one.get(get("absent", "b")).await;
    assert_eq!((read.outcome(), read.value.unwrap().data), (Outcome::Hit, b"2".to_vec()));
}

/// What the service does not take is no reason for others to wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_holds_no_lease() {
    let one = alone().await;
    let cache = of(&one, "plain");
    let years = Some(Duration::from_secs(100 * 366 * 86_400));
    for n in 0..3 {
        let loaded: Loaded = cache.get_or_load("a", years, &[], async || Ok(Some(n))).await;
        assert_eq!(loaded, Ok(Some(n)));
        let read = one.get(get("plain", "a")).await;
        assert_eq!(read.outcome(), Outcome::MissLoad, "somebody is said to load");
        one.fail("plain", "a", &read).await;
    }
    let loaded: Loaded = cache.get_or_load("a", None, &[], async || Ok(Some(4))).await;
    assert_eq!(loaded, Ok(Some(4)));
    assert_eq!(one.get(get("plain", "a")).await.outcome(), Outcome::Hit);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_voided_is_loaded_again() {
    let one = alone().await;
    let cache = of(&one, "plain");
    let load =
        async |n| -> Loaded { cache.get_or_load("a", None, &["x"], async || Ok(Some(n))).await };
    assert_eq!((load(1).await, load(2).await), (Ok(Some(1)), Ok(Some(1))));
    assert_eq!(cache.delete("a").await.unwrap(), Applied::Done);
    assert_eq!((load(3).await, load(4).await), (Ok(Some(3)), Ok(Some(3))));
    assert_eq!(cache.invalidate_tag("x").await.unwrap(), Applied::Done);
    assert_eq!(load(5).await, Ok(Some(5)));
    let refused = cache.delete("").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let nobody = Cache::new(Transport::local(Routes::default()), "plain");
    assert!(nobody.invalidate_tag("x").await.is_err());
}

/// Who reads after a deletion does not share what was loaded before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_a_deletion_is_not_shared() {
    let one = alone().await;
    let cache = of(&one, "plain");
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move {
            let loader = async || {
                begun.send(()).unwrap();
                end.await.unwrap();
                Ok(Some(1))
            };
            let loaded: Loaded = cache.get_or_load("a", None, &[], loader).await;
            loaded
        }
    });
    has_begun.await.unwrap();
    assert_eq!(cache.delete("a").await.unwrap(), Applied::Done);
    let after =
        async || -> Loaded { cache.get_or_load("a", None, &[], async || Ok(Some(2))).await };
    // Whoever shared it would wait for its loader.
    assert_eq!(timeout(SOON, after()).await.unwrap(), Ok(Some(2)));
    ended.send(()).unwrap();
    assert_eq!(slow.await.unwrap(), Ok(Some(1)));
    let kept: Loaded = cache.get_or_load("a", None, &[], async || Ok(Some(3))).await;
    assert_eq!(kept, Ok(Some(2)), "its fill came too late");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_service_the_loader_is_asked() {
    let nobody = Transport::local(Routes::default());
    let short = Duration::from_millis(50);
    let cache = Cache::new(nobody, "plain").with_patience(short, short);
    for n in 0..3 {
        let loaded: Loaded = cache.get_or_load("a", None, &[], async || Ok(Some(n))).await;
        assert_eq!(loaded, Ok(Some(n)));
    }
}
