//! A deployment of many processes for tests that are not written in Rust.
//!
//! `mingle-deployment [--envoy] [--nginx|--haproxy] [--mingle PROGRAM]` starts Redis,
//! PostgreSQL and the processes, and says where each gateway is as `mingle` itself
//! does: `{"ready":"gateway","addr":"127.0.0.1:…"}`, or where the load balancer before
//! them is, and `{"ready":"mingle"}` when all are there. Then it obeys lines, each
//! answered with one of JSON:
//!
//! | line | what is done | answer |
//! |---|---|---|
//! | `terminate` | SIGTERM to every process, callers first | `{"exited":[0,…]}` |
//! | `kill` | SIGKILL to every process | `{"killed":true}` |
//! | `kill gateway 0` | SIGKILL to the first gateway | `{"killed":true}` |
//! | `start` | starts them on the same servers | the ready lines |
//! | `freeze` | Redis stops | `{"frozen":true}` |
//! | `thaw` | it goes on | `{"thawed":true}` |
//! | `requests` | how many Envoy passed to each instance | `{"requests":{"chat":[4,5],…}}` |
//! | `sockets` | how many each gateway holds; one that does not run, null | `{"sockets":[1,null]}` |
//! | `logs` | the end of each process's log | `{"logs":"…"}` |
//!
//! The end of its input ends everything.

use std::{
    env,
    io::{BufRead as _, Write as _},
    time::Duration,
};

use mingle_testkit::{Balancer, Deployment, Kind, Plan};
use serde_json::{Map, Value, json};

const SECRET: &str = "a secret of the tests in a browser, 0123456789";
/// For all of them, one after the other, each of which has its grace period.
const EXIT: Duration = Duration::from_secs(20);
const TAIL: usize = 30;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let mut deployment = runtime.block_on(plan().start());
    tell_ready(&deployment);
    for order in std::io::stdin().lock().lines().map_while(Result::ok) {
        runtime.block_on(obey(&order, &mut deployment));
    }
}

/// What the command line asks for.
fn plan() -> Plan {
    let mut plan =
        Deployment::plan().env("MINGLE_JWT_SECRET", SECRET).env("MINGLE_SESSION_SECRET", SECRET);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        plan = match (argument.as_str(), arguments.len()) {
            ("--envoy", _) => plan.envoy(),
            ("--nginx", _) => plan.balancer(Kind::Nginx),
            ("--haproxy", _) => plan.balancer(Kind::Haproxy),
            ("--mingle", 1..) => plan.program(arguments.next().unwrap_or_default()),
            _ => {
                panic!("usage: mingle-deployment [--envoy] [--nginx|--haproxy] [--mingle PROGRAM]")
            }
        };
    }
    plan
}

async fn obey(order: &str, deployment: &mut Deployment) {
    match order {
        "terminate" => tell(&json!({"exited": deployment.terminate(EXIT).await})),
        "kill" => {
            deployment.kill9_all();
            tell(&json!({"killed": true}));
        }
        "kill gateway 0" | "kill gateway 1" => {
            deployment.kill9("gateway", usize::from(order.ends_with('1')));
            tell(&json!({"killed": true}));
        }
        "start" => {
            deployment.start().await;
            tell_ready(deployment);
        }
        "freeze" => {
            deployment.redis().freeze();
            tell(&json!({"frozen": true}));
        }
        "thaw" => {
            deployment.redis().thaw();
            tell(&json!({"thawed": true}));
        }
        "requests" => tell(&json!({"requests": requests(deployment)})),
        "sockets" => {
            tell(&json!({"sockets": deployment.counts("gateway", "mingle_gateway_sockets")}));
        }
        "logs" => tell(&json!({"logs": logs(deployment)})),
        _ => panic!("{order:?} is no order"),
    }
}

fn tell_ready(deployment: &Deployment) {
    let before = deployment.balancer().map(Balancer::address);
    for at in before.map_or_else(|| deployment.gateways(), |at| vec![at]) {
        tell(&json!({"ready": "gateway", "addr": at}));
    }
    tell(&json!({"ready": "mingle"}));
}

fn requests(deployment: &Deployment) -> Map<String, Value> {
    let envoy = deployment.envoy().into_iter();
    let of = |envoy: &mingle_testkit::Envoy| {
        let count = |role| (String::from(role), json!(envoy.requests(role)));
        ["ratelimit", "presence", "matchmaking", "chat"].map(count)
    };
    envoy.flat_map(of).collect()
}

fn logs(deployment: &Deployment) -> String {
    let end = |(role, process): (&str, &mingle_testkit::Mingle)| {
        let log = process.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        format!("--- {role}, process {} ---\n{tail}\n", process.pid())
    };
    deployment.running().map(end).collect()
}

/// One line, at once; whoever asked may be gone.
fn tell(answer: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{answer}").and_then(|()| out.flush());
}
