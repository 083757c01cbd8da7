//! Other limits come into force under load, whichever way their files are replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::StatusCode;
use mingle_proto::ratelimit::v1::{Charge, CheckRequest, ListLimitsRequest, ReloadConfigRequest};
use mingle_testkit::{Mingle, Redis, eventually};
use tokio::task::JoinSet;
use tonic::Code;

use super::callers::{Client, client};
use crate::{http::get, world::SOON};

const CALLERS: usize = 8;
/// Of both limits, one file after the other.
const QUOTAS: [u64; 4] = [1_000, 2_000, 3_000, 4_000];

fn limits(quota: u64) -> String {
    ["a", "b"]
        .map(|name| {
            format!(
                "[ratelimit.limits.{name}]\nalgorithm = \"sliding_window\"\nquota = {quota}\n\
                 window = \"1h\"\n"
            )
        })
        .concat()
}

/// Puts a file into the folder as Kubernetes does: a link to a link to the folder of a
/// version.
fn swap(folder: &Path, version: usize, text: &str) {
    let data = folder.join(format!("..{version}"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("limits.toml"), text).unwrap();
    symlink(data.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// What was told: by version, the quotas of both limits.
type Seen = BTreeMap<String, BTreeSet<(u64, u64)>>;

/// Asks until `end`, and once more, for both limits at once, of a new subject each time.
async fn ask(client: Client, who: usize, end: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::new();
    for number in 0.. {
        let is_last = end.load(Ordering::Relaxed);
        let limits = vec!["a".to_owned(), "b".to_owned()];
        let charge = Some(Charge { subject: format!("{who}-{number}"), limits, cost: Some(1) });
        let request =
            CheckRequest { charge, request_id: "one".to_owned(), is_new: false, once: false };
        let reply = client.clone().check(request).await.unwrap();
        let version = reply.metadata().get("mingle-ratelimit-config").unwrap();
        let version = version.to_str().unwrap().to_owned();
        let states = reply.into_inner().states;
        seen.entry(version).or_default().insert((states[0].quota, states[1].quota));
        if is_last {
            break;
        }
    }
    seen
}

async fn version(client: &Client) -> String {
    client.clone().list_limits(ListLimitsRequest {}).await.unwrap().into_inner().version
}

async fn broken_files(mingle: &Mingle) -> u64 {
    let page = get(mingle.probes_addr(), "/metrics", "").await;
    assert_eq!(page.status, StatusCode::OK);
    let count =
        |line: &str| line.strip_prefix("mingle_ratelimit_config_errors_total ")?.parse().ok();
    page.text.lines().find_map(count).unwrap_or(0)
}

/// Waits until other limits are in force than of this version.
async fn replaced(client: &Client, old: &str) -> String {
    eventually(SOON, "other limits", async || {
        Some(version(client).await).filter(|version| version != old)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_judged_by_the_limits_of_one_file() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), Redis::start().await);
    let file = folder.path().join("limits.toml");
    swap(folder.path(), 0, &limits(QUOTAS[0]));
    symlink("..data/limits.toml", &file).unwrap();
    let builder = Mingle::builder().arg("--config").arg(&file).arg("serve").arg("ratelimit");
    let mingle = builder.env("REDIS_URL", redis.url()).start().await;
    let client = client(&mingle.grpc_addr());

    let (mut asking, end) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
    for who in 0..CALLERS {
        asking.spawn(ask(client.clone(), who, end.clone()));
    }
    let mut versions = vec![version(&client).await];
    swap(folder.path(), 1, &limits(QUOTAS[1]));
    versions.push(replaced(&client, &versions[0]).await);

    // What is broken is told, and changes nothing.
    swap(folder.path(), 2, "[ratelimit.limits.a]\nquota = 0\n");
    eventually(SOON, "the broken file is told", async || broken_files(&mingle).await > 0).await;
    assert_eq!(version(&client).await, versions[1]);
    assert!(mingle.log().contains("ratelimit.limits.a"), "{}", mingle.log());
    let refused = client.clone().reload_config(ReloadConfigRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("ratelimit.limits.a"), "{refused:?}");

    // Written over in its place.
    fs::write(folder.path().join("..2/limits.toml"), limits(QUOTAS[2])).unwrap();
    versions.push(replaced(&client, &versions[1]).await);
    // At once.
    swap(folder.path(), 3, &limits(QUOTAS[3]));
    let reloaded = client.clone().reload_config(ReloadConfigRequest {}).await.unwrap();
    versions.push(reloaded.into_inner().version);
    assert_eq!(version(&client).await, versions[3]);
    end.store(true, Ordering::Relaxed);
    let mut all = Seen::new();
    for (version, quotas) in asking.join_all().await.into_iter().flatten() {
        all.entry(version).or_default().extend(quotas);
    }
    for (version, quota) in versions.into_iter().zip(QUOTAS) {
        assert_eq!(all.remove(&version), Some([(quota, quota)].into()), "{version}");
    }
    assert!(all.is_empty(), "of no file: {all:?}");
}
