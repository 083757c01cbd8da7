//! The listeners of a process: gRPC, probes, and the gateway's own.

use std::net::SocketAddr;

use anyhow::Context as _;
use mingle_proto::runtime::v1::diagnostics_service_server::{
    DiagnosticsServiceServer, SERVICE_NAME as DIAGNOSTICS,
};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};

use super::{
    Process,
    address::{claim, remedy},
};
use crate::{
    grpc::{self, Routes},
    probes,
};

/// Callers that may wait until they are accepted, where a listener says nothing
/// else: other processes, which keep few connections each.
const BACKLOG: u32 = 1024;

/// Binds every listener and serves on `servers`. Returns names and addresses.
pub(super) async fn listen(
    process: &mut Process,
    servers: &TaskTracker,
) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
    let mut listening = Vec::new();
    let (listener, address) = bind(process.probes.listen, BACKLOG, "probes").await?;
    listening.push(("probes", address));
    let router = probes::router(process.health.clone());
    let closing = process.closing.clone().cancelled_owned();
    servers.spawn(async move {
        report("probes", axum::serve(listener, router).with_graceful_shutdown(closing).await);
    });

    let (listener, address) = bind(process.grpc.listen, BACKLOG, "grpc").await?;
    listening.push(("grpc", address));
    let routes = routes(process).await?;
    let closing = process.closing.clone().cancelled_owned();
    let server = Server::builder()
        .initial_connection_window_size(grpc::CONNECTION_WINDOW)
        .layer(process.stack.clone());
    servers.spawn(async move {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        report("grpc", server.serve_with_incoming_shutdown(routes, incoming, closing).await);
    });

    for bound in std::mem::take(&mut process.bounds) {
        let (Some(front), Some(context)) = (bound.front, process.context(bound.role)) else {
            continue;
        };
        let name = bound.role.name();
        let (listener, address) = bind(front.listen, front.backlog, name).await?;
        listening.push((name, address));
        context.tasks.spawn((front.serve)(listener));
    }
    Ok(listening)
}

/// Every gRPC service of the process: its roles', diagnostics, health and
/// reflection, each declared to health and reflection.
async fn routes(process: &Process) -> anyhow::Result<Routes> {
    let diagnostics = DiagnosticsServiceServer::new(process.diagnostics.clone());
    let health = HealthService::from_health_reporter(process.reporter.clone());
    let mut routes = Routes::new(diagnostics).add_service(HealthServer::new(health));
    let mut names = vec![DIAGNOSTICS];
    for bound in &process.bounds {
        let Some(role) = &bound.routes else { continue };
        routes = routes.merge(role);
        names.extend(bound.role.service());
    }
    for name in &names {
        process.health.set_service(name, true).await;
    }
    let v1 = reflection(&names).build_v1().context("reflection")?;
    // What older tools ask, Python's among them.
    let v1alpha = reflection(&names).build_v1alpha().context("reflection")?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

fn reflection<'a>(names: &[&'a str]) -> tonic_reflection::server::Builder<'a> {
    let mut builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(mingle_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health")
        .with_service_name("grpc.reflection.v1.ServerReflection");
    for name in names {
        builder = builder.with_service_name(*name);
    }
    builder
}

async fn bind(
    address: SocketAddr,
    backlog: u32,
    name: &str,
) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = match claim(address).and_then(|socket| socket.listen(backlog)) {
        Ok(listener) => listener,
        Err(error) => {
            let remedy = remedy(name, address, &error).await;
            let what = format!("cannot listen on {address}: {remedy}");
            return Err(anyhow::Error::from(error).context(what));
        }
    };
    let address = listener.local_addr().with_context(|| format!("no address ({name})"))?;
    Ok((listener, address))
}

fn report<E: std::fmt::Display>(name: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(listener = name, %error, "listener ended");
    }
}
