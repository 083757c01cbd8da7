//! Which restarts start a new generation.

use mingle_store::redis::{Generation, Options, Redis};
use mingle_testkit::{Redis as Server, eventually};
use tokio::net::{TcpListener, TcpStream};

use super::{SOON, connect, connect_with, connected};

fn generation(redis: &Redis) -> Generation {
    redis.fence().borrow().clone().expect("connected")
}

async fn next(redis: &Redis, before: &Generation) -> Generation {
    let mut fence = redis.fence();
    let other = fence.wait_for(|held| held.as_ref() != Some(before));
    tokio::time::timeout(SOON, other).await.expect("a new one").unwrap().clone().unwrap()
}

#[tokio::test]
async fn a_restart_starts_a_generation_and_a_reconnect_does_not() {
    let server = Server::start().await;
    let redis = connect(&server).await;
    let first = generation(&redis);
    assert_eq!(server.cli(&["HGET", "mingle:{fence}", "generation"]), first.as_str());
    assert_eq!(server.cli(&["TTL", "mingle:{fence}"]), "-1");

    assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "2");
    connected(&redis).await;
    let connections = server.cli(&["INFO", "commandstats"]);
    assert!(connections.contains("cmdstat_info:calls=4"), "both are new: {connections}");
    assert_eq!(generation(&redis), first);

    server.restart_empty().await;
    let second = next(&redis, &first).await;
    connected(&redis).await;
    assert_eq!(generation(&redis), second, "one for both connections");
    assert_eq!(server.cli(&["HGET", "mingle:{fence}", "generation"]), second.as_str());

    // Its tail may be gone: it cannot tell.
    server.restart().await;
    let third = next(&redis, &second).await;
    assert_ne!(third, first);

    // The data was taken away under a server that lives on.
    assert_eq!(server.cli(&["DEL", "mingle:{fence}"]), "1");
    let _ = server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    next(&redis, &third).await;
}

/// Where the first connection leads to one server and all others to another, as
/// when a name was given to a promoted server and the old one lives on.
async fn renamed(old: &Server, new: &Server) -> String {
    let (mut servers, new) = (vec![old.address()], new.address());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let place = servers.pop().unwrap_or(new);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(place).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn two_servers_that_live_are_not_gone_by_in_turn() {
    let (old, new) = (Server::start().await, Server::start().await);
    let redis = connect_with(Options::new(renamed(&old, &new).await)).await;
    let held = |server: &Server| server.cli(&["HGET", "mingle:{fence}", "generation"]);
    eventually(SOON, "all lead to the new one", async || {
        old.cli(&["CLIENT", "LIST"]).lines().count() == 1
    })
    .await;
    connected(&redis).await;
    assert!(!held(&old).is_empty(), "a connection led there");
    assert_ne!(held(&old), held(&new));
    assert_eq!(generation(&redis).as_str(), held(&new));
}

#[tokio::test]
async fn processes_agree_on_the_generation_unless_their_prefixes_differ() {
    let server = Server::start().await;
    let options =
        |prefix: &str| Options { prefix: prefix.into(), ..Options::new(server.root_url()) };
    let (one, two, apart) = tokio::join!(
        connect_with(options("a:")),
        connect_with(options("a:")),
        connect_with(options("b:"))
    );
    assert_eq!(generation(&one), generation(&two));
    assert_ne!(generation(&one), generation(&apart));
    assert_eq!(one.key("x", "y"), "a:mingle:{x}:y");
    let mut keys: Vec<String> = server.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, ["a:mingle:{fence}", "b:mingle:{fence}"]);

    server.restart_empty().await;
    let first = generation(&apart);
    eventually(SOON, "one new generation for both", async || {
        generation(&one) == generation(&two) && generation(&apart) != first
    })
    .await;
}

#[tokio::test]
async fn a_primary_that_followed_another_meanwhile_is_not_believed_as_before() {
    let (one, other) = (Server::start().await, Server::start().await);
    let first = generation(&connect(&one).await);
    let follow = |server: &Server, of: &Server| {
        let port = of.port().to_string();
        assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    };
    follow(&other, &one);
    eventually(SOON, "a replica", async || other.cli(&["EXISTS", "mingle:{fence}"]) == "1").await;
    assert_eq!(other.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(one.cli(&["SET", "tail", "lost"]), "OK");
    follow(&one, &other);
    eventually(SOON, "the tail is gone", async || one.cli(&["EXISTS", "tail"]) == "0").await;
    assert_eq!(one.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(one.cli(&["HGET", "mingle:{fence}", "generation"]), first.as_str());
    assert_ne!(generation(&connect(&one).await), first);
}
