//! A gateway stands still with a hello in its hands, and goes on when whoever said
//! it is long back elsewhere.

use mingle_client::ws::{
    Encoding, Socket,
    proto::{ClientFrame, Hello, Resume, client_frame::Kind},
};
use mingle_testkit::eventually;

use super::{plan, urls};
use crate::{
    http,
    world::{SOON, greet, token},
};

const SOCKETS: &str = "mingle_gateway_sockets ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_back_elsewhere_does_not_lose_to_themselves() {
    let mut deployment = plan().start().await;
    let urls = urls(&deployment);
    let ann = greet(&urls[0], "ann", Encoding::Proto, None).await.unwrap();
    let resume_token = ann.welcome().unwrap().resume_token.clone();
    drop(ann);

    // Of several, one would do: each could take the session.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(Socket::connect(&urls[1], Encoding::Proto).await.unwrap());
    }
    deployment.process("gateway", 1).freeze();
    let resume = Resume { token: resume_token, rooms: Vec::new() };
    for mut socket in waiting {
        let hello = Hello { token: token("ann"), resume: Some(resume.clone()) };
        let hello = ClientFrame { id: 1, kind: Some(Kind::Hello(hello)), ..ClientFrame::default() };
        socket.send_frame(&hello).await.unwrap();
    }
    let mut ann = greet(&urls[0], "ann", Encoding::Proto, Some(resume)).await.unwrap();
    assert!(ann.welcome().unwrap().resumed);

    deployment.process("gateway", 1).thaw();
    let probes = deployment.process("gateway", 1).probes_addr();
    eventually(SOON, "the other gateway to be done with them", async || {
        let metrics = http::get(probes, "/metrics", "").await.text;
        metrics.lines().find_map(|line| line.strip_prefix(SOCKETS)) == Some("0")
    })
    .await;
    ann.ping().await.unwrap();
}
