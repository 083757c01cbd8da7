//! Many servers, each with a part of the keys.

use std::{collections::HashSet, slice::from_ref, time::Duration};

use mingle_store::{
    ErrorKind,
    redis::{Arg, Batch, Call, Generation, Options, Redis, Script, Unfit},
};
use mingle_testkit::{Cluster, Redis as Server, eventually};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{PATIENT, SOON, connect};

static COUNT: Script = Script::new("count", "return redis.call('HINCRBY', KEYS[1], 'n', 1)");
/// An election and what follows it, on however slow a machine.
const ELECTED: Duration = Duration::from_secs(90);
/// Keys that no server has all of.
const KEYS: usize = 600;

async fn connect_to(cluster: &Cluster, timeout: Duration) -> Redis {
    let options = Options { timeout, ..Options::new(cluster.url()) };
    let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
    eventually(SOON, "all servers", async || redis.is_connected()).await;
    redis
}

fn generation(redis: &Redis) -> Generation {
    redis.fence().borrow().clone().unwrap()
}

fn keys(redis: &Redis) -> Vec<String> {
    (0..KEYS).map(|at| redis.key(format_args!("k{at}"), "n")).collect()
}

fn calls(keys: &[String]) -> Vec<Call> {
    keys.iter().map(|key| Call { keys: vec![key.clone()], args: Vec::new() }).collect()
}

async fn count(redis: &Redis, key: &String) -> mingle_store::Result<i64> {
    redis.run(&COUNT, from_ref(key), &[]).await
}

/// A key that this server has.
fn key_of(cluster: &Cluster, redis: &Redis, server: &Server) -> String {
    let has = |key: &String| cluster.owner(key).unwrap().port() == server.port();
    keys(redis).into_iter().find(has).unwrap()
}

#[tokio::test]
async fn commands_batches_and_scripts_find_their_server_and_answers_keep_their_order() {
    let cluster = Cluster::start().await;
    let redis = connect_to(&cluster, PATIENT).await;
    let keys = keys(&redis);
    let answers: Vec<i64> = redis
        .run_many(&COUNT, &calls(&keys))
        .await
        .unwrap()
        .into_iter()
        .collect::<mingle_store::Result<_>>()
        .unwrap();
    assert_eq!(answers, vec![1; KEYS]);
    let mut batch = Batch::new();
    for (at, key) in keys.iter().enumerate() {
        batch.tell("HSET").arg(key).arg("at").arg(at);
        batch.ask("HGET").arg(key).arg("at");
    }
    let places: Vec<usize> = redis.pipeline(&batch).await.unwrap();
    assert_eq!(places, (0..KEYS).collect::<Vec<_>>());
    assert_eq!(count(&redis, &keys[7]).await.unwrap(), 2);
    // Beyond 16 KiB by the other connection, of any server.
    let value: Arg = vec![0_u8; 100_000].into();
    static SET: Script = Script::new("set", "return redis.call('SET', KEYS[1], ARGV[1])");
    for key in &keys[..20] {
        let set = async || redis.run::<()>(&SET, from_ref(key), from_ref(&value)).await;
        eventually(SOON, "the connection for values", async || set().await.is_ok()).await;
    }
    for server in cluster.primaries() {
        let held: usize = server.cli(&["DBSIZE"]).parse().unwrap();
        assert!((KEYS / 5..KEYS).contains(&held), "{held}");
    }
}

#[tokio::test]
async fn slots_move_under_load_and_no_call_fails_or_runs_twice() {
    let cluster = Cluster::start().await;
    let redis = connect_to(&cluster, PATIENT).await;
    let (keys, before) = (keys(&redis), generation(&redis));
    let stop = CancellationToken::new();
    let counting = tokio::spawn({
        let (redis, keys, stop) = (redis.clone(), keys.clone(), stop.clone());
        async move {
            let (mut rounds, mut answers) = (0, Vec::new());
            while !stop.is_cancelled() {
                rounds += 1;
                answers = redis.run_many::<i64>(&COUNT, &calls(&keys)).await.unwrap();
                for key in keys.iter().step_by(37) {
                    let one: i64 = redis.query(redis::cmd("HGET").arg(key).arg("n")).await.unwrap();
                    assert_eq!(one, rounds);
                }
            }
            (rounds, answers)
        }
    });
    cluster.add().await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.rebalance();
        let (a, b) = (&cluster.servers()[0], &cluster.servers()[1]);
        cluster.move_slots(a, b, 500);
        cluster
    })
    .await
    .unwrap();
    stop.cancel();
    let (rounds, answers) = counting.await.unwrap();
    assert!(rounds > 3, "{rounds}");
    for answer in answers {
        assert_eq!(answer.unwrap(), rounds);
    }
    assert_eq!(cluster.primaries().len(), 4);
    for key in keys.iter().step_by(50) {
        let counted = cluster.owner(key).unwrap().cli(&["HGET", key, "n"]);
        assert_eq!(counted, rounds.to_string());
    }
    let moved = cluster.servers().iter().map(|it| errors(it, "MOVED")).sum::<u64>();
    assert!(moved > 0, "nobody was sent elsewhere");
    assert_eq!(generation(&redis), before, "nothing was lost");
}

#[tokio::test]
async fn the_slots_of_the_fence_and_of_the_marks_move_and_no_call_fails() {
    let cluster = Cluster::of(3, 0).await;
    let redis = connect_to(&cluster, PATIENT).await;
    let before = generation(&redis);
    // Those that move are not asked for at their next server.
    let own: Vec<_> = cluster.servers().iter().map(|it| it.cli(&["KEYS", "*"])).collect();
    for (from, own) in cluster.servers().iter().zip(own) {
        let to = cluster.servers().iter().find(|it| it.port() != from.port()).unwrap();
        let key = key_of(&cluster, &redis, from);
        assert!(own.contains("{mark:"), "{own}");
        for own in own.lines().filter(|own| own.contains("{mark:") || own.contains("{fence}")) {
            let slot = from.cli(&["CLUSTER", "KEYSLOT", own]).parse().unwrap();
            let call = async || assert!(count(&redis, &key).await.is_ok());
            cluster.begin_move(slot, from, to);
            // Nobody but the beats asks for these.
            more(4, || errors(from, "ASK"), call).await;
            cluster.end_move(slot, from, to);
            more(4, || super::executed(from, "hget"), call).await;
        }
    }
    assert!(redis.is_connected());
    assert_eq!(generation(&redis), before);
}

/// Calls again and again, until something was counted so much more often.
async fn more(times: u64, counted: impl Fn() -> u64, call: impl AsyncFn()) {
    let enough = counted() + times;
    eventually(SOON, "it to be counted", async || {
        call().await;
        counted() >= enough
    })
    .await;
}

/// How often a server has answered with this error.
fn errors(server: &Server, error: &str) -> u64 {
    let stats = server.cli(&["INFO", "errorstats"]);
    let head = format!("errorstat_{error}:count=");
    stats.lines().find_map(|line| line.strip_prefix(&head)?.trim().parse().ok()).unwrap_or(0)
}

/// Waits until a key counts again, on another server than `old`.
#[expect(clippy::print_stdout, reason = "the time to heal")]
async fn healed(cluster: &Cluster, redis: &Redis, key: &String, old: &Server) {
    let (began, mut failed) = (Instant::now(), 0);
    eventually(ELECTED, "the replica is used", async || match count(redis, key).await {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_transient(), "{error:?}");
            failed += 1;
            false
        }
    })
    .await;
    println!("healed after {} ms, {failed} calls failed", began.elapsed().as_millis());
    assert!(failed > 0);
    let new = cluster.owner(key).unwrap();
    assert_ne!(new.port(), old.port());
    let counted = count(redis, key).await.unwrap();
    assert_eq!(new.cli(&["HGET", key, "n"]), counted.to_string());
}

#[tokio::test]
async fn a_killed_primary_is_followed_by_its_replica_and_begins_a_generation() {
    let cluster = Cluster::start().await;
    let redis = connect_to(&cluster, PATIENT).await;
    let other = connect_to(&cluster, PATIENT).await;
    // The one that has the fence, and one that has not.
    let fence = cluster.owner("mingle:{fence}").unwrap().port();
    for has_fence in [false, true] {
        let before = generation(&redis);
        assert_eq!(generation(&other), before);
        let of = |server: &&Server| (server.port() == fence) == has_fence;
        let primaries = cluster.primaries();
        let old = primaries.into_iter().find(of).unwrap();
        let key = key_of(&cluster, &redis, old);
        assert!(count(&redis, &key).await.is_ok());
        old.kill();
        healed(&cluster, &redis, &key, old).await;
        eventually(SOON, "one new generation for both", async || {
            generation(&redis) != before && generation(&redis) == generation(&other)
        })
        .await;
        let after = generation(&redis);
        old.restart().await;
        cluster.complete().await;
        // It came back as a replica, and has nothing.
        eventually(SOON, "it is not asked", async || {
            let clients = old.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
            !clients.contains("user=mingle")
        })
        .await;
        assert_eq!(generation(&redis), after);
        eventually(SOON, "all are there", async || redis.is_connected()).await;
    }
}

#[tokio::test]
async fn a_frozen_shard_is_away_for_its_own_keys_alone() {
    let cluster = Cluster::of(3, 0).await;
    let redis = connect_to(&cluster, Duration::from_millis(250)).await;
    let servers = cluster.servers();
    let keys: Vec<_> = servers.iter().map(|server| key_of(&cluster, &redis, server)).collect();
    servers[0].freeze();
    let mut timed_out = 0;
    for _ in 0..20 {
        let asked = keys.iter().map(|key| count(&redis, key));
        let answers = futures::future::join_all(asked).await;
        timed_out += u32::from(answers[0].as_ref().unwrap_err().kind() == ErrorKind::Timeout);
        assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
    }
    assert!((1..20).contains(&timed_out), "{timed_out} waited, the others were answered at once");
    // Of a batch the others are answered, too.
    let answers = redis.run_many::<i64>(&COUNT, &calls(&keys)).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((answers[1].as_ref().unwrap(), answers[2].as_ref().unwrap()), (&21, &21));
    assert!(!redis.is_connected());
    servers[0].thaw();
    eventually(SOON, "it serves again", async || count(&redis, &keys[0]).await.is_ok()).await;
    eventually(SOON, "all are there", async || redis.is_connected()).await;
}

#[tokio::test]
async fn data_taken_away_from_one_server_begins_one_generation_for_all() {
    let cluster = Cluster::of(3, 0).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(connect_to(&cluster, PATIENT).await);
    }
    let fence = cluster.owner("mingle:{fence}").unwrap().port();
    let mut seen = HashSet::from([generation(&all[0])]);
    for has_fence in [false, true] {
        let of = |server: &&Server| (server.port() == fence) == has_fence;
        let server = cluster.servers().iter().find(of).unwrap();
        assert_eq!(server.cli(&["FLUSHALL"]), "OK");
        eventually(SOON, "the same new one for all", async || {
            let now: HashSet<_> = all.iter().map(generation).collect();
            now.len() == 1 && now.is_disjoint(&seen)
        })
        .await;
        seen.insert(generation(&all[0]));
        // Who comes later finds nothing new.
        all.push(connect_to(&cluster, PATIENT).await);
        let now: HashSet<_> = all.iter().map(generation).collect();
        assert!(now.len() == 1 && now.is_subset(&seen), "{now:?}");
    }
    // Restarted with all its data it may have lost its tail.
    cluster.servers()[1].restart().await;
    eventually(SOON, "another one", async || {
        let now: HashSet<_> = all.iter().map(generation).collect();
        now.len() == 1 && now.is_disjoint(&seen)
    })
    .await;
}

#[tokio::test]
async fn a_cluster_and_a_server_that_is_alone_are_not_taken_for_one_another() {
    let (log, _guard) = super::log::Log::keep();
    let (cluster, alone) = (Cluster::of(3, 0).await, Server::start().await);
    let url = |server: &Server| server.url().replacen("redis:", "redis+cluster:", 1);
    for (url, unfit) in
        [(cluster.servers()[0].url(), Unfit::OfCluster), (url(&alone), Unfit::NoCluster)]
    {
        let redis = Redis::start(Options::new(url), CancellationToken::new()).await.unwrap();
        assert!(!redis.is_connected());
        assert_eq!(redis.inspect().await.unwrap().unfit, Some(unfit));
        let error = redis.query::<()>(redis::cmd("GET").arg("mingle:{x}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    assert!(log.text().contains("cluster support disabled"), "{}", log.text());
    assert!(connect(&alone).await.is_connected());
}
#[tokio::test]
async fn a_start_needs_one_attempt_at_each_server() {
    let (log, _guard) = super::log::Log::keep();
    let cluster = Cluster::of(3, 0).await;
    for number in 0..20 {
        let (timeout, prefix) = (PATIENT, format!("{number}:"));
        let options = Options { timeout, prefix, ..Options::new(cluster.root_url()) };
        let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
        redis.connected().await;
    }
    assert!(!log.text().contains("cannot be reached"), "{}", log.text());
}
