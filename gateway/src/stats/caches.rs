//! What the processes of the cache say of its namespaces.

use std::collections::BTreeMap;

use mingle_proto::{
    cache::v1::{self as ca, cache_service_client::CacheServiceClient},
    gateway::v1 as pb,
};
use mingle_runtime::{Context, Role};
use tokio::task::JoinSet;

use super::survey::bounded;

/// What each of them says, and whether all of them did.
pub(super) async fn look(ctx: &Context) -> (Vec<ca::NamespaceStats>, bool) {
    let way = ctx.peers.get(Role::Cache);
    let instances = way.instances();
    let all = || bounded(ca::StatsRequest::default());
    let mut answers = JoinSet::new();
    if instances.is_empty() {
        answers.spawn(async move { CacheServiceClient::new(way).stats(all()).await });
    }
    for instance in instances {
        answers.spawn(async move { CacheServiceClient::new(instance.way()).stats(all()).await });
    }
    let (mut told, mut knows_all) = (Vec::new(), true);
    for answer in answers.join_all().await {
        match answer {
            Ok(stats) => told.extend(stats.into_inner().namespaces),
            Err(_) => knows_all = false,
        }
    }
    (told, knows_all)
}

/// Each namespace once, with what all of them say.
pub(super) fn of(told: &[ca::NamespaceStats]) -> Vec<pb::CacheView> {
    let mut views = BTreeMap::<&str, (pb::CacheView, u64)>::new();
    for stats in told {
        let (view, read_us) = views.entry(&stats.namespace).or_default();
        view.hits += stats.hits;
        view.stale_hits += stats.stale_hits;
        view.misses += stats.misses;
        view.local_hits += stats.local_hits;
        view.loads += stats.loads;
        view.failed_loads += stats.failed_loads;
        view.rejected_fills += stats.rejected_fills;
        view.waits += stats.waits;
        view.local_entries += stats.local_entries;
        view.local_bytes += stats.local_bytes;
        view.stored_bytes += stats.stored_bytes;
        view.kept_bytes += stats.kept_bytes;
        *read_us += stats.read_us;
    }
    let view = |(namespace, (view, read_us)): (&str, (pb::CacheView, u64))| {
        let reads = view.hits + view.stale_hits + view.misses;
        let mean_read_ms = (reads > 0).then(|| read_us as f64 / 1e3 / reads as f64);
        pb::CacheView { namespace: namespace.to_owned(), mean_read_ms, ..view }
    };
    views.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(namespace: &str, hits: u64, read_us: u64) -> ca::NamespaceStats {
        ca::NamespaceStats { namespace: namespace.to_owned(), hits, read_us, ..Default::default() }
    }

    #[test]
    fn what_several_processes_say_is_added_by_namespace() {
        let views = of(&[stats("b", 3, 6_000), stats("a", 0, 0), stats("b", 1, 2_000)]);
        let told = |view: &pb::CacheView| (view.namespace.clone(), view.hits, view.mean_read_ms);
        assert_eq!(
            views.iter().map(told).collect::<Vec<_>>(),
            [("a".to_owned(), 0, None), ("b".to_owned(), 4, Some(2.0))]
        );
    }
}
