//! A process that ends by itself fails every test, also one that has two of its
//! kind and does not look.

use std::process::Command;

use mingle_testkit::eventually;

use super::plan;
use crate::world::SOON;

#[tokio::test]
#[should_panic(expected = "processes ended by themselves")]
async fn a_test_that_does_not_look_fails_when_a_process_fell() {
    let mut deployment = plan().start().await;
    let pid = deployment.process("chat", 1).pid().to_string();
    // Behind the deployment's back, as a crash is.
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    eventually(SOON, "it is gone", async || deployment.process("chat", 1).exited().is_some()).await;
}
