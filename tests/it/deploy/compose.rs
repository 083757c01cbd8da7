//! `docker-compose.yml`, as docker compose understands it.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    net::TcpStream,
    process::Command,
    time::Duration,
};

use mingle_testkit::{Envoy, Postgres, Server, eventually, free_port};
use serde_json::{Map, Value};

use super::{
    read,
    tools::{self, Variables},
};
use crate::architecture::root;

const FILE: &str = "docker-compose.yml";
const MOUNTED: &str = "/run/secrets/";
const ROLES: &[&str] = &["gateway", "matchmaking", "chat", "presence", "ratelimit", "cache"];
const READY: Duration = Duration::from_secs(60);

fn compose(arguments: &[&str]) -> String {
    let mut compose = Command::new(tools::docker_compose());
    // What the machine's environment says is not what the file says.
    for name in ["MINGLE_ENV", "MINGLE_GATEWAY__DEV_TOKENS_BEYOND_LOOPBACK", "LISTEN"] {
        compose.env_remove(name);
    }
    let file = root().join(FILE);
    tools::succeed(compose.arg("-f").arg(file).arg("config").args(arguments))
}

pub(super) fn is_valid(_: &str) {
    compose(&["--quiet"]);
}

fn services() -> Map<String, Value> {
    let all: Value = serde_json::from_str(&compose(&["--format", "json"])).unwrap();
    let services = all["services"].as_object().unwrap().clone();
    assert!(services.len() >= 12, "{services:?}");
    services
}

/// The containers that serve a role: name, role and environment.
fn roles(services: &Map<String, Value>) -> Vec<(&str, &str, Variables)> {
    let of_mingle = services.iter().filter(|(_, service)| service["image"] == "mingle");
    let roles: Vec<_> = of_mingle
        .filter(|(_, service)| service["command"][0] == "serve")
        .map(|(name, service)| {
            (&**name, service["command"][1].as_str().unwrap(), variables(service))
        })
        .collect();
    for role in ROLES {
        let count = roles.iter().filter(|(_, of, _)| of == role).count();
        assert_eq!(count, if *role == "gateway" { 2 } else { 1 }, "{role}");
    }
    roles
}

fn variables(service: &Value) -> Variables {
    let variables = service["environment"].as_object().unwrap().iter();
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The names in a list of texts, or of tables with this key.
fn names(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    let mut names: Vec<String> = list.map(|item| text(item.get(key).unwrap_or(item))).collect();
    names.sort();
    names
}

#[tokio::test]
async fn mingle_takes_what_its_containers_are_told() {
    let (services, secrets) = (services(), tools::secrets());
    for (name, role, variables) in roles(&services) {
        let files = tools::named_secrets(&variables, MOUNTED);
        assert_eq!(files, names(&services[name]["secrets"], "source"), "{name}: what it reads");
        let here = tools::with_secrets(&variables, MOUNTED, secrets.path());
        tools::assert_taken(role, &here).await;
    }
}

#[test]
fn everybody_is_called_where_they_listen() {
    let services = services();
    let (envoy, prometheus) =
        (read("deploy/envoy/envoy.yaml"), read("deploy/prometheus/prometheus.yml"));
    let nginx = read("deploy/nginx/nginx.conf");
    for (name, role, variables) in roles(&services) {
        let port = variables["MINGLE_GRPC__LISTEN"].strip_prefix("0.0.0.0:").unwrap();
        assert_eq!(variables["MINGLE_PROBES__LISTEN"], "0.0.0.0:9464");
        let scraped =
            prometheus.contains(&format!("{name},")) || prometheus.contains(&format!("{name}]"));
        assert!(scraped, "{name}");
        if role == "gateway" {
            assert_eq!(variables["MINGLE_GATEWAY__LISTEN"], "0.0.0.0:8080");
            assert!(nginx.contains(&format!("server {name}:8080 ")), "{name}");
            continue;
        }
        let endpoint = format!("{{ address: {name}, port_value: {port} }}");
        assert!(envoy.contains(&endpoint), "{endpoint}");
        let peer = format!("[\"http://envoy:{port}\"]");
        assert_eq!(variables[&format!("MINGLE_PEERS__{}", role.to_uppercase())], peer);
    }
    let envoy = services["envoy"]["image"].as_str().unwrap();
    assert_eq!(envoy, format!("envoyproxy/envoy:v{}", Envoy::VERSION), "the one that is tested");
}

#[test]
fn containers_are_hardened_and_tell_how_they_are() {
    let image = read("deploy/Dockerfile");
    assert!(image.contains("\nUSER 65532:65532\n") && image.contains("\nHEALTHCHECK "), "{image}");
    // Their images have a user of their own, who is not root.
    let unprivileged = ["nginx", "jaeger", "prometheus"];
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(names(&service["cap_drop"], ""), ["ALL"], "{name}");
        let user = service["user"].as_str().unwrap_or_default();
        assert!(unprivileged.contains(&&*name) || !["", "root", "0"].contains(&user), "{name}");
        let image = service["image"].as_str().unwrap();
        assert!(image == "mingle" || image.contains(':') && !image.ends_with(":latest"), "{image}");
        assert!(image == "mingle" || service["healthcheck"]["test"].is_array(), "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is open to everybody");
        }
    }
}

#[tokio::test]
async fn mingle_takes_the_redis_of_the_containers_and_nobody_else_does() {
    let (services, folder, port) = (services(), tools::secrets(), free_port());
    let users = folder.path().join("redis_users");
    let command = names_in_order(&services["redis"]["command"]);
    assert_eq!(command, ["redis-server", "/etc/redis/redis.conf"]);
    let server = Server::prepare("redis", "TERM");
    let mut arguments: Vec<OsString> = vec![root().join("deploy/redis/redis.conf").into()];
    arguments.extend(["--aclfile".into(), users.into_os_string()]);
    arguments.extend(["--port", &port.to_string(), "--bind", "127.0.0.1"].map(Into::into));
    server.start(OsStr::new("redis-server"), &arguments);
    eventually(READY, "redis to listen", async || {
        assert!(server.is_running(), "{}", server.log());
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;

    let password = fs::read_to_string(folder.path().join("redis_password")).unwrap();
    let here = |word: &str| word.replace(MOUNTED, &format!("{}/", folder.path().display()));
    for (password, well) in [(&*password, true), ("wrong", false)] {
        let url = format!("redis://mingle:{password}@127.0.0.1:{port}");
        fs::write(folder.path().join("redis_url"), url).unwrap();
        assert_eq!(is_well(&services["redis"], here), well, "its health check");
    }
    for (user, taken) in [(format!("mingle:{password}@"), "ok"), (String::new(), "fail")] {
        let url = ("REDIS_URL".to_owned(), format!("redis://{user}127.0.0.1:{port}"));
        let steps = check_of_redis(&Variables::from([url])).await;
        assert_eq!(steps["redis"], taken, "{steps:?}");
        if taken == "ok" {
            assert_eq!(steps["redis memory"], "ok", "{steps:?}");
            assert_eq!(steps["redis writes"], "ok", "{steps:?}");
        }
    }
}

/// The state of each step of `mingle check`.
async fn check_of_redis(variables: &Variables) -> BTreeMap<String, String> {
    let listen = ["MINGLE_GRPC__LISTEN", "MINGLE_PROBES__LISTEN"]
        .map(|name| (name.to_owned(), "127.0.0.1:0".to_owned()));
    let variables = variables.clone().into_iter().chain(listen).collect();
    let out = tools::mingle(&["check", "--json", "ratelimit"], &variables).await.out;
    let steps = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    steps.map(|step| (text(&step["name"]), text(&step["state"]))).collect()
}

#[tokio::test]
async fn the_tables_are_made_as_the_container_makes_them() {
    let (services, secrets) = (services(), tools::secrets());
    let migrate = &services["migrate"];
    let command = names_in_order(&migrate["command"]);
    let told = variables(migrate);
    assert_eq!(tools::named_secrets(&told, MOUNTED), names(&migrate["secrets"], "source"));
    let database = Postgres::shared().await.database().await;
    fs::write(secrets.path().join("database_url"), &database.url).unwrap();
    let here = tools::with_secrets(&told, MOUNTED, secrets.path());
    let ran = tools::mingle(&command.iter().map(|word| &**word).collect::<Vec<_>>(), &here).await;
    assert!(ran.code == Some(0) && ran.err.contains("chat are made"), "{ran:?}");
}

#[tokio::test]
async fn the_health_check_of_envoy_asks_envoy() {
    let (services, envoy) = (services(), Envoy::start(Vec::new()).await);
    let port = envoy.admin().port().to_string();
    let here = |word: &str| word.replace("9901", &port);
    eventually(READY, "envoy is well", async || is_well(&services["envoy"], here)).await;
    drop(envoy);
    assert!(!is_well(&services["envoy"], here), "it is gone");
}

/// What the health check of a container says, run here.
fn is_well(service: &Value, here: impl Fn(&str) -> String) -> bool {
    // It is told so that it can be read as a compose file again.
    let test = names_in_order(&service["healthcheck"]["test"]);
    let test: Vec<_> = test.iter().map(|word| here(&word.replace("$$", "$"))).collect();
    let mut check = match &*test[0] {
        "CMD-SHELL" => Command::new("sh"),
        _ => Command::new(&test[1]),
    };
    match &*test[0] {
        "CMD-SHELL" => check.arg("-c").arg(&test[1]),
        _ => check.args(&test[2..]),
    };
    check.status().unwrap().success()
}

fn names_in_order(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(text).collect()
}
