//! What a deployment costs that nobody uses.

use std::time::Duration;

use mingle_testkit::{Deployment, eventually};

use super::plan;

/// How long is looked at; printed per minute.
const LOOK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_deployment_costs_a_bounded_number_of_commands() {
    let deployment = plan().start().await;
    let start = processed(&deployment);
    let begin = tokio::time::Instant::now();
    eventually(LOOK * 6, "the time has passed", async || begin.elapsed() >= LOOK).await;
    let commands = (processed(&deployment) - start) * 60 / begin.elapsed().as_secs().max(1);
    eprintln!("idle: {commands} Redis commands a minute over 5 processes that use it");
    assert!(commands > 0, "nothing was counted");
    assert!(commands < 20_000, "{commands} commands a minute");
}

fn processed(deployment: &Deployment) -> u64 {
    let info = deployment.redis().cli(&["INFO", "stats"]);
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}
