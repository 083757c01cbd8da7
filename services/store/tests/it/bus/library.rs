//! Why sharded subscriptions are kept by us: the cluster client of the library, as
//! it is. Once this fails it subscribes again by itself.

use mingle_testkit::{Cluster, Redis, eventually};
use redis::{ProtocolVersion, PushInfo, cluster::ClusterClientBuilder};

use super::reader::PATIENCE;

/// Of many slots.
const CHANNELS: usize = 60;

fn told(server: &Redis) -> usize {
    let channels = server.cli(&["PUBSUB", "SHARDCHANNELS"]);
    channels.lines().filter(|channel| !channel.is_empty()).count()
}

fn refused(server: &Redis) -> bool {
    server.cli(&["INFO", "errorstats"]).contains("errorstat_CROSSSLOT")
}

#[tokio::test]
async fn the_library_subscribes_again_to_several_slots_at_once_and_is_refused() {
    let cluster = Cluster::of(3, 0).await;
    let (push, _pushes) = tokio::sync::mpsc::unbounded_channel::<PushInfo>();
    let nodes = cluster.servers().iter().map(Redis::root_url);
    let client = ClusterClientBuilder::new(nodes)
        .use_protocol(ProtocolVersion::RESP3)
        .push_sender(push)
        .build()
        .unwrap();
    let mut connection = client.get_async_connection().await.unwrap();
    for channel in 0..CHANNELS {
        connection.ssubscribe(format!("channel:{channel}")).await.unwrap();
    }
    let server = &cluster.servers()[0];
    assert!(told(server) > 1);
    assert!(!refused(server));
    assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
    eventually(PATIENCE, "it subscribes again, in one command", async || {
        // It notices that the connection is gone when it is used.
        let key = format!("key:{}", rand::random::<u32>());
        let _: redis::RedisResult<()> =
            redis::cmd("SET").arg(key).arg(1).query_async(&mut connection).await;
        refused(server)
    })
    .await;
    assert_eq!(told(server), 0, "and hears no more, without a word");
}
