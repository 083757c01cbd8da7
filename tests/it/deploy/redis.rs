//! `deploy/redis`: what Mingle's user may do is what Mingle does, and no more.

use std::collections::BTreeSet;

use mingle_testkit::Redis;
use serde_json::Value;

use super::read;
use crate::architecture::files;

/// What every user may do, so that it can become another.
const ANYBODY: [&str; 4] = ["auth", "hello", "quit", "reset"];
/// What the client library asks for by itself.
const BY_ITSELF: [&str; 3] = ["select", "subscribe", "unsubscribe"];
const KEY: &str = "mingle:{x}:y";

/// The commands that the file lets it give.
fn leaves() -> BTreeSet<String> {
    let users = read("deploy/redis/users.acl");
    let of_mingle = users.lines().find_map(|line| line.strip_prefix("user mingle ")).unwrap();
    let commands = of_mingle.split(' ').filter_map(|word| word.strip_prefix('+'));
    commands.map(str::to_owned).collect()
}

/// Of a group the command that stands behind it.
fn cluster(rest: &str) -> String {
    let of_group = rest.split(".arg(\"").nth(1).unwrap().split('"').next().unwrap();
    format!("cluster|{}", of_group.to_lowercase())
}

/// The commands in the sources: of scripts, and of those that are sent.
fn used() -> BTreeSet<String> {
    let mut used: BTreeSet<String> = BY_ITSELF.map(str::to_owned).into();
    for path in files().into_iter().filter(|path| path.starts_with("services/")) {
        let begins: &[&str] = if path.ends_with(".lua") {
            &["redis.call('"]
        } else if path.contains("/src/") && path.ends_with(".rs") {
            &["cmd(\"", "ask(\"", "tell(\"", "send((\"", "call(\"EVAL"]
        } else {
            continue;
        };
        let text = read(&path);
        for begin in begins {
            // Commands are written in capitals.
            let is_command = |rest: &&str| !rest.starts_with(|it: char| it.is_lowercase());
            let found = text.split(begin).skip(1).filter(is_command);
            let word = |rest: &str| rest.split(['"', '\'']).next().unwrap().to_lowercase();
            used.extend(found.map(|rest| match (*begin, &*word(rest)) {
                ("call(\"EVAL", word) => format!("eval{word}"),
                (_, "script") => "script|load".to_owned(),
                (_, "cluster") => cluster(rest),
                (_, word) => word.to_owned(),
            }));
        }
    }
    // Of others: of sentinels.
    used.remove("sentinel");
    used
}

pub(super) fn users_may_do_what_mingle_does(path: &str) {
    let users = read(path);
    let lines: Vec<_> = users.lines().collect();
    assert_eq!(lines[0], "user default off");
    assert!(lines[1].starts_with("user mingle on resetpass ~mingle:* &mingle:* -@all +"), "{path}");
    assert_eq!(lines.len(), 2, "{path}");
    assert_eq!(leaves(), used(), "{path} and the sources");
}

/// It is run by `mingle_takes_the_redis_of_the_containers_and_nobody_else_does`.
pub(super) fn is_of_the_containers(path: &str) {
    let mounted = format!("./{path}:/etc/redis/redis.conf:ro");
    assert!(read("docker-compose.yml").contains(&mounted), "{mounted}");
}

/// Every command of the server, those of a group as `group|command`, and how many words
/// it wants.
fn commands(server: &Redis) -> Vec<(String, usize)> {
    let said: Value = serde_json::from_str(&server.cli(&["--json", "COMMAND"])).unwrap();
    let mut commands = Vec::new();
    for command in said.as_array().unwrap() {
        let of_group = command[9].as_array().unwrap();
        let each = if of_group.is_empty() { std::slice::from_ref(command) } else { of_group };
        commands.extend(each.iter().map(|command| {
            let words = command[1].as_i64().unwrap().unsigned_abs();
            (command[0].as_str().unwrap().to_owned(), usize::try_from(words).unwrap())
        }));
    }
    commands
}

#[tokio::test]
async fn each_other_command_key_and_channel_is_refused() {
    let server = Redis::start().await;
    let would = |words: &[&str]| server.cli(&[&["ACL", "DRYRUN", "mingle"], words].concat());
    let (mut refused, mut taken) = (0, BTreeSet::new());
    for (name, length) in commands(&server) {
        let mut words: Vec<&str> = name.split('|').collect();
        words.resize(words.len().max(length), KEY);
        if would(&words).contains("has no permissions to run") {
            refused += 1;
        } else {
            taken.insert(name);
        }
    }
    let mut may = leaves();
    may.extend(ANYBODY.map(str::to_owned));
    assert_eq!(taken, may);
    assert!(refused > 250, "{refused}");
    println!("{} taken, {refused} refused", taken.len());

    assert_eq!(would(&["GET", KEY]), "OK");
    assert!(would(&["GET", "other"]).contains("no permissions to access the 'other' key"));
    assert_eq!(would(&["PUBLISH", "mingle:{bus}:x", "y"]), "OK");
    assert!(would(&["PUBLISH", "other", "y"]).contains("no permissions to access the 'other'"));
    assert!(would(&["SUBSCRIBE", "other"]).contains("no permissions to access the 'other'"));
}
