//! Processes whose clocks are wrong, and a limit that does not notice.

use std::time::Duration;

use mingle_proto::runtime::v1::{
    DescribeRequest, diagnostics_service_client::DiagnosticsServiceClient,
};
use mingle_testkit::Deployment;
use tonic::transport::Channel;

use super::{
    limits::{QUOTA, charges, clients, limited, room, talk},
    monitor::Monitor,
};
use crate::http;

/// Who is how many seconds ahead of the machine. Two of a role are as far apart
/// as the window of the limit is long.
const WRONG: [(&str, usize, i64); 4] =
    [("ratelimit", 0, -30), ("ratelimit", 1, 30), ("chat", 1, -30), ("chat", 2, 30)];
/// Much less than the window of a minute.
const TALK: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_wrong_change_no_limit() {
    let mut deployment = limited().count("ratelimit", 2).start().await;
    for (role, nth, seconds) in WRONG {
        let before = redis_ms(&deployment);
        deployment.restart_ahead_by(role, nth, seconds).await;
        let started = started_ms(&deployment, role, nth).await - seconds * 1000;
        assert!((before..=redis_ms(&deployment)).contains(&started), "{role} {nth} is not off");
    }
    let clients = clients(&deployment);
    let room = room(&mut clients[0].clone()).await;

    let log = Monitor::start(deployment.redis()).await;
    let tally = talk(&clients, &room, TALK).await;
    let charges = charges(log, &deployment).await;
    tally.assert_charged(&charges);
    assert_eq!(charges.len(), QUOTA);
    for nth in 0..2 {
        let probes = deployment.process("ratelimit", nth).probes_addr();
        let decisions = http::counter(probes, "mingle_ratelimit_decisions_total").await;
        assert!(decisions > 0, "ratelimit {nth} was not asked");
    }
}

/// What the machine's own clock says, which is that of Redis.
fn redis_ms(deployment: &Deployment) -> i64 {
    let time = deployment.redis().cli(&["TIME"]);
    let parts: Vec<i64> = time.lines().map(|part| part.parse().unwrap()).collect();
    parts[0] * 1000 + parts[1] / 1000
}

/// When a process started, by its own clock.
async fn started_ms(deployment: &Deployment, role: &str, nth: usize) -> i64 {
    let at = Channel::from_shared(format!("http://{}", deployment.grpc(role)[nth])).unwrap();
    let mut client = DiagnosticsServiceClient::new(at.connect().await.unwrap());
    let told = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    told.started_at.unwrap().millis()
}
