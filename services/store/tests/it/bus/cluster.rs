//! The bus over a cluster: the suite, and what becomes of it as the cluster changes.

use std::{
    sync::{Arc, atomic::AtomicU32, atomic::Ordering},
    time::Duration,
};

use mingle_store::{
    bus::{Bus, Merged, Options, Servers},
    redis::{self, Redis},
};
use mingle_testkit::{Cluster, Redis as Server, eventually};
use tokio_util::sync::CancellationToken;

use super::{
    conformance::{Pair, suite},
    follower::{Follower, Truth, Writer},
    reader::{PATIENCE, Reader, announcement, publish},
    stage::{heard, start},
};

/// An election, on however slow a machine.
const ELECTED: Duration = Duration::from_secs(90);
/// Announced at once.
const SOME: usize = 256;
/// Of different slots.
const TOPICS: [&str; 6] = ["room:a", "room:b", "room:c", "room:d", "room:e", "room:f"];

async fn bus(cluster: &Cluster) -> Arc<Merged> {
    let redis = Redis::start(redis::Options::new(cluster.url()), CancellationToken::new()).await;
    start(Servers::Redis(redis.unwrap()), Options::default()).await
}

async fn two() -> Pair {
    let cluster = Cluster::of(3, 0).await;
    let (here, there) = (bus(&cluster).await, bus(&cluster).await);
    Pair::on(cluster, here, there)
}

suite!(two().await);

/// Connections that listen to this server.
fn listeners(server: &Server) -> usize {
    server.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count()
}

fn shard_channels(server: &Server) -> usize {
    server
        .cli(&["PUBSUB", "SHARDCHANNELS", "*:topic:*"])
        .lines()
        .filter(|it| !it.is_empty())
        .count()
}

#[tokio::test]
async fn each_server_has_one_listening_connection_and_its_part_of_the_topics() {
    let cluster = Cluster::of(3, 0).await;
    let (here, there) = (bus(&cluster).await, bus(&cluster).await);
    let here: Arc<dyn Bus> = here;
    let mut readers = Vec::new();
    for number in 0..300 {
        readers.push(Reader::of(&here, &format!("room:{number}")).await);
    }
    let counts: Vec<_> = cluster.servers().iter().map(shard_channels).collect();
    assert_eq!(counts.iter().sum::<usize>(), 300, "{counts:?}");
    assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    let lines: Vec<_> = cluster.servers().iter().map(listeners).collect();
    assert_eq!(lines, [2, 2, 2], "two processes");
    drop(readers);
    eventually(PATIENCE, "nothing is asked any more", async || {
        cluster.servers().iter().all(|server| shard_channels(server) == 0)
    })
    .await;
    there.close().await;
}

/// Writers and followers of some topics, between two processes.
struct Following {
    here: Arc<Merged>,
    there: Arc<Merged>,
    truths: Vec<Truth>,
    writers: Vec<Writer>,
    followers: Vec<Follower>,
    end: Arc<AtomicU32>,
}

impl Following {
    async fn start(cluster: &Cluster) -> Self {
        let (here, there) = (bus(cluster).await, bus(cluster).await);
        let (from, to): (Arc<dyn Bus>, Arc<dyn Bus>) = (here.clone(), there.clone());
        let (mut truths, mut writers, mut followers) = (Vec::new(), Vec::new(), Vec::new());
        let end = Arc::new(AtomicU32::new(u32::MAX));
        for topic in TOPICS {
            let truth = Truth::default();
            followers.push(Follower::start(&to, topic, &truth, end.clone()).await);
            writers.push(Writer::start(from.clone(), topic, &truth));
            truths.push(truth);
        }
        Self { here, there, truths, writers, followers, end }
    }

    /// Waits until each topic has some more.
    async fn progress(&self) {
        let wanted: Vec<_> = self.truths.iter().map(|truth| truth.committed() + 50).collect();
        eventually(ELECTED, "more numbers", async || {
            self.truths.iter().zip(&wanted).all(|(truth, wanted)| truth.committed() >= *wanted)
        })
        .await;
    }

    async fn heard(&self) {
        eventually(ELECTED, "both to hear", async || {
            [&self.here, &self.there].iter().all(|bus| bus.sources().redis == Some(true))
        })
        .await;
        self.progress().await;
    }

    /// Ends it; every follower has every number, or was told of a gap. Gaps, and
    /// numbers that came live.
    async fn end(self) -> (u32, u32) {
        for bus in [&self.here, &self.there] {
            heard(bus).await;
        }
        for writer in self.writers {
            writer.stop().await;
        }
        let last = self.truths.iter().map(Truth::committed).max().unwrap();
        for (topic, truth) in TOPICS.iter().zip(&self.truths) {
            let rest = truth.committed()..last;
            truth.commit_to(last);
            let rest: Vec<_> = rest.map(|number| announcement(topic, number)).collect();
            // A topic whose server was away may be thousands behind: more than one call takes.
            for some in rest.chunks(SOME) {
                self.here.publish(some).await.unwrap();
            }
        }
        self.end.store(last, Ordering::SeqCst);
        for topic in TOPICS {
            self.here.publish(&[announcement(topic, last)]).await.unwrap();
        }
        let (mut gaps, mut live) = (0, 0);
        for follower in self.followers {
            let seen = follower.end().await;
            assert!(seen.live > 0, "{seen:?}");
            (gaps, live) = (gaps + seen.gaps, live + seen.live);
        }
        (gaps, live)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_and_each_topic_moves_with_them() {
    let cluster = Cluster::of(3, 0).await;
    let following = Following::start(&cluster).await;
    following.progress().await;
    cluster.add().await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.rebalance();
        cluster
    })
    .await
    .unwrap();
    following.heard().await;
    eventually(PATIENCE, "the new one to be listened to", async || {
        listeners(&cluster.servers()[3]) == 2
    })
    .await;
    // All slots of one server: nobody listens to it any more.
    let cluster = tokio::task::spawn_blocking(move || {
        let servers = cluster.servers();
        cluster.move_slots(&servers[0], &servers[3], 4_096);
        cluster
    })
    .await
    .unwrap();
    following.heard().await;
    eventually(PATIENCE, "nobody listens to the first one", async || {
        listeners(&cluster.servers()[0]) == 0
    })
    .await;
    let (gaps, live) = following.end().await;
    assert!(gaps > 0 && live > 300, "{gaps} {live}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_without_a_gap_as_servers_fail() {
    let cluster = Cluster::start().await;
    let following = Following::start(&cluster).await;
    let mut hit = 0;
    for primary in cluster.primaries() {
        following.progress().await;
        let killed = primary.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        hit += killed.parse::<u32>().unwrap();
        following.heard().await;
    }
    assert!(hit >= 6, "{hit}");
    let owner = |topic: &str| cluster.owner(&format!("mingle:{{{topic}}}"));
    for (number, how) in ["kill", "freeze", "stutter"].into_iter().enumerate() {
        let primary = cluster.primaries()[number];
        match how {
            "kill" => primary.kill(),
            _ => primary.freeze(),
        }
        if how == "stutter" {
            // Not long enough for an election.
            following.progress().await;
            primary.thaw();
        } else {
            eventually(ELECTED, "a replica is elected", async || {
                let slot_of = |port: u16| {
                    (0..16_384).step_by(97).any(|slot| {
                        cluster.owner_of(slot).is_some_and(|owner| owner.port() == port)
                    })
                };
                !slot_of(primary.port())
            })
            .await;
        }
        following.heard().await;
        match how {
            "kill" => primary.restart().await,
            "freeze" => primary.thaw(),
            _ => {}
        }
        cluster.complete().await;
        following.heard().await;
    }
    assert!(owner("fence").is_some());
    let (gaps, live) = following.end().await;
    assert!(gaps > 0 && live > 600, "{gaps} {live}");
}

#[tokio::test]
async fn what_is_not_at_the_frozen_server_is_heard_all_the_while() {
    let cluster = Cluster::of(3, 0).await;
    let (here, there) = (bus(&cluster).await, bus(&cluster).await);
    let (here, there): (Arc<dyn Bus>, Arc<dyn Bus>) = (here, there);
    let mut readers = Vec::new();
    for number in 0..40 {
        readers.push((number, Reader::of(&there, &format!("room:{number}")).await));
    }
    let at = |server: &Server| -> Vec<u32> {
        let said = server.cli(&["PUBSUB", "SHARDCHANNELS", "*:topic:*"]);
        said.lines().filter_map(|line| line.rsplit_once(':')?.1.parse().ok()).collect()
    };
    let (frozen, others) = cluster.servers().split_first().unwrap();
    let healthy: Vec<u32> = others.iter().flat_map(at).collect();
    assert!((15..40).contains(&healthy.len()), "{healthy:?}");
    frozen.freeze();
    for (number, reader) in &mut readers {
        if healthy.contains(number) {
            publish(&here, &format!("room:{number}"), 0..3).await;
            reader.expect(0..3).await;
        }
    }
    frozen.thaw();
    let mut far = readers.into_iter().find(|(number, _)| !healthy.contains(number)).unwrap();
    super::reader::publish_when_possible(&here, &format!("room:{}", far.0), 9).await;
    far.1.until(9).await;
}
