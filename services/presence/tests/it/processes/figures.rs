//! What it costs, printed: how many commands, how many bytes.

use mingle_presence::store::{Limits, Store as _};
use mingle_testkit::Redis as Server;

use super::{Processes, ROOMY};
use crate::harness::world::{accepted, any, claim, node};

/// Commands that the server has executed, those inside of scripts too.
fn executed(server: &Server) -> (u64, u64) {
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name, rest.split(',').next()?.parse::<u64>().ok()?))
    });
    let (scripts, others): (Vec<_>, Vec<_>) = calls
        .filter(|(name, _)| !["info", "time", "client|setinfo"].contains(name))
        .partition(|(name, _)| name.starts_with("eval"));
    let sum = |calls: Vec<(&str, u64)>| calls.into_iter().map(|(_, calls)| calls).sum();
    (sum(scripts), sum(others))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_each_call() {
    let processes = Processes::start(1, ROOMY).await;
    let store = &processes.stores[0];
    store.register_node(node("a", 1)).await.unwrap();
    // The first of a second counts what is stored.
    assert_eq!(store.connect("a", claim("zoe", "s", 1, "x")).await.unwrap(), accepted(true));
    let mut scripts = Vec::new();
    let mut before = executed(&processes.server);
    let mut say = |what: &str| {
        let now = executed(&processes.server);
        println!("{what}: {} scripts, {} commands", now.0 - before.0, now.1 - before.1);
        scripts.push(now.0 - before.0);
        before = now;
    };
    assert_eq!(store.connect("a", claim("ann", "s", 1, "x")).await.unwrap(), accepted(true));
    say("Connect");
    store.connect("a", claim("ann", "s", 2, "y")).await.unwrap();
    say("Connect that resumes");
    store.connect("a", claim("ann", "s", 2, "y")).await.unwrap();
    say("Connect, a retry");
    store.disconnect("ann", "s", any(2)).await.unwrap();
    say("Disconnect");
    assert!(store.renew_node("a", 1).await.unwrap());
    say("RenewNode");
    let asked: Vec<_> = (0..100).map(|at| format!("u{at}")).chain(["ann".to_owned()]).collect();
    store.get_many(&asked[100..]).await.unwrap();
    say("Get");
    store.get_many(&asked).await.unwrap();
    say("GetMany of 101, 100 of them never seen");
    store.sweep().await.unwrap();
    say("sweep, the first (walks)");
    store.sweep().await.unwrap();
    say("sweep");
    assert_eq!(scripts[..6], [3, 3, 2, 2, 2, 1], "what README says");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_a_user() {
    const USERS: usize = 20_000;
    let limits = Limits { max_sessions: 10 * USERS, ..ROOMY };
    let processes = Processes::start(1, limits).await;
    let store = &processes.stores[0];
    store.register_node(node("a", 1)).await.unwrap();
    let used = || {
        let memory = processes.server.cli(&["INFO", "memory"]);
        let line = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = used();
    for users in (0..USERS).collect::<Vec<_>>().chunks(1_000) {
        let claims = users.iter().map(|at| {
            let user = format!("0190b0c1-8a2e-7000-8000-{at:012}");
            let connection = format!("0190b0c1-8a2e-7000-a000-{at:012}");
            claim(&user, &format!("0190b0c1-8a2e-7000-9000-{at:012}"), 1, &connection)
        });
        store.register_sessions("a", claims.collect()).await.unwrap();
    }
    let each = (used() - before) / USERS as u64;
    assert_eq!(store.count().await.unwrap().users, USERS as u64);
    let buckets = processes.keys("*:u:*");
    assert_eq!(processes.keys("*:w:*"), Vec::<String>::new());
    let of_keys = "local all, packed = 0, 0
        for _, key in ipairs(ARGV) do
          all = all + redis.call('MEMORY', 'USAGE', key)
          if redis.call('OBJECT', 'ENCODING', key) == 'listpack' then packed = packed + 1 end
        end
        return {all, packed}";
    let mut command = vec!["EVAL", of_keys, "0"];
    command.extend(buckets.iter().map(String::as_str));
    let said = processes.server.cli(&command);
    let (in_buckets, packed) = said.split_once('\n').unwrap();
    let in_buckets: u64 = in_buckets.parse().unwrap();
    let packed: usize = packed.parse().unwrap();
    let buckets = buckets.len();
    println!(
        "a user with one session and 36-byte ids: {each} bytes of used_memory, \
         {} by MEMORY USAGE of {buckets} buckets, all else included in the former",
        in_buckets / USERS as u64
    );
    assert_eq!(packed, buckets, "each bucket is a listpack");
}
