//! Servers that answer and are not used.

use mingle_store::{
    ErrorKind,
    redis::{Options, Redis, Unfit},
};
use mingle_testkit::{Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

use super::{SOON, connected, log::Log, small};

/// A connection to a server that is not used, and what the log says of it.
async fn refused(server: &Server, log: &Log, unfit: Unfit) -> Redis {
    let options = Options::new(server.root_url());
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    let why = unfit.to_string();
    eventually(SOON, "the log", async || log.text().contains(&why)).await;
    assert!(!redis.is_connected());
    assert_eq!(redis.query::<String>(&small()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(redis.inspect().await.unwrap().unfit, Some(unfit));
    assert!(redis.fence().borrow().is_none(), "nothing was written there");
    redis
}

#[tokio::test]
async fn one_that_may_evict_is_used_when_it_no_longer_may() {
    let (log, _guard) = Log::keep();
    let settings = [("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")];
    let server = Server::start_with(&settings).await;
    let redis = refused(&server, &log, Unfit::Evicts).await;
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    assert_eq!(server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "OK");
    connected(&redis).await;
    assert_eq!(log.text().matches("redis is this server").count(), 1, "{}", log.text());
}

#[tokio::test]
async fn a_node_of_a_cluster_is_told_as_one() {
    let (log, _guard) = Log::keep();
    let server = Server::start_with(&[("cluster-enabled", "yes")]).await;
    refused(&server, &log, Unfit::OfCluster).await;
}
