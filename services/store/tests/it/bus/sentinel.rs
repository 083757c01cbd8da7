//! The bus over a primary that is replaced.

use std::{sync::Arc, time::Duration};

use mingle_store::{
    bus::{Bus, Options, Servers},
    redis::{self, Redis},
};
use mingle_testkit::{Sentinels, eventually};
use tokio_util::sync::CancellationToken;

use super::{
    reader::{News, PATIENCE, Reader, publish, publish_when_possible},
    stage::start,
};

/// An election, on however slow a machine.
const ELECTED: Duration = Duration::from_secs(90);

async fn bus(all: &Sentinels) -> Arc<dyn Bus> {
    let options = redis::Options::new(all.url());
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    start(Servers::Redis(redis), Options::default()).await
}

#[tokio::test]
async fn all_meet_at_the_server_that_is_elected_while_the_old_one_serves_on() {
    let all = Sentinels::start().await;
    let (here, there) = (bus(&all).await, bus(&all).await);
    let mut reader = Reader::of(&there, "a").await;
    publish(&here, "a", 0..1).await;
    reader.expect(0..1).await;
    let old = &all.servers()[0];
    all.cut_off(old);
    eventually(ELECTED, "another is elected", async || {
        all.primary().is_some_and(|primary| primary.port() != old.port())
    })
    .await;
    assert_eq!(reader.next().await, News::Gap);
    publish_when_possible(&here, "a", 1).await;
    reader.until(1).await;
    eventually(PATIENCE, "nobody listens to the old one", async || {
        old.cli(&["PUBSUB", "NUMSUB", "mingle:{bus}:beat"]).ends_with("\n0")
    })
    .await;
}
