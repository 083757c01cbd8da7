//! What operators are told of a server that does not answer.

use std::net::SocketAddr;

use mingle_proto::runtime::v1::{
    DescribeRequest, DescribeResponse, diagnostics_service_client::DiagnosticsServiceClient,
};
use mingle_testkit::{Deployment, eventually};
use tonic::transport::Channel;

use super::plan;
use crate::{http, world::SOON};

pub(super) async fn describe(at: SocketAddr) -> DescribeResponse {
    let channel = Channel::from_shared(format!("http://{at}")).unwrap().connect_lazy();
    let mut client = DiagnosticsServiceClient::new(channel);
    client.describe(DescribeRequest::default()).await.unwrap().into_inner()
}

/// Waits until chat says so, and its gauge too.
async fn until(deployment: &mut Deployment, degraded: &[&str], unhealthy: &[&str]) {
    let at = deployment.grpc("chat")[0];
    eventually(SOON, &format!("{degraded:?} to be told"), async || {
        (describe(at).await.degraded == degraded).then_some(())
    })
    .await;
    let told = describe(at).await;
    let away = told.backends.iter().filter(|backend| backend.healthy == Some(false));
    assert_eq!(away.map(|backend| &*backend.name).collect::<Vec<_>>(), unhealthy, "{told:?}");
    let probes = deployment.process("chat", 0).probes_addr();
    let metrics = http::get(probes, "/metrics", "").await.text;
    for state in ["redis", "database"] {
        let value = u8::from(degraded.contains(&state));
        let line = format!("mingle_degraded{{state=\"{state}\"}} {value}");
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    let ready = http::get(probes, "/readyz", "").await;
    assert_eq!(ready.status.as_u16(), 200, "degraded is not down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_told_by_name_until_it_does() {
    let mut deployment = plan().count("chat", 1).own_postgres().start().await;
    until(&mut deployment, &[], &[]).await;
    deployment.redis().freeze();
    until(&mut deployment, &["redis"], &["cache", "limits", "bus", "presence", "match index"])
        .await;
    deployment.redis().thaw();
    until(&mut deployment, &[], &[]).await;
    deployment.postgres().unwrap().freeze();
    until(&mut deployment, &["database"], &["database"]).await;
    deployment.postgres().unwrap().thaw();
    until(&mut deployment, &[], &[]).await;
}
