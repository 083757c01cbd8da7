//! The server under test.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use mingle_proto::runtime::v1::{
    DescribeRequest, diagnostics_service_client::DiagnosticsServiceClient,
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::{
    child::Child,
    meters::{Meter, Meters},
    plan::Plan,
    token,
};

/// The database in its data folder.
const DATABASE: &str = "mingle.db";
/// Of the limits of users, which a load is not to meet.
const QUOTA: &str = "100000000";

/// What a load is not to meet.
pub(crate) const LIMITS: &[(&str, &str)] = &[
    ("MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA", QUOTA),
    ("MINGLE_RATELIMIT__LIMITS__QUEUE_JOIN__QUOTA", QUOTA),
    ("MINGLE_CHAT__LIMIT__QUOTA", QUOTA),
    ("MINGLE_MATCHMAKING__LIMIT__QUOTA", QUOTA),
    ("MINGLE_GATEWAY__LIMITS__MAX_CONNECTIONS", "20000"),
];

/// A whole Mingle in one process, on free ports and an empty data folder.
pub(crate) struct System {
    child: Child,
    data: TempDir,
}

impl System {
    /// Starts it with `variables` over its defaults.
    pub(crate) async fn start(plan: &Plan, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let data = plan.data_folder()?;
        let dir = data.path().join("data");
        let dir = dir.to_str().context("the path of the data folder is not UTF-8")?;
        let mut all = vec![
            ("MINGLE_GATEWAY__LISTEN", "127.0.0.1:0"),
            ("MINGLE_GRPC__LISTEN", "127.0.0.1:0"),
            ("MINGLE_PROBES__LISTEN", "127.0.0.1:0"),
            ("MINGLE_DATA__DIR", dir),
            ("MINGLE_JWT_SECRET", token::SECRET),
        ];
        all.extend_from_slice(LIMITS);
        all.extend_from_slice(variables);
        let ready = ("mingle", data.path().join("log"));
        let child = Child::start(&plan.binary, &[], &all, ready).await?;
        Ok(Self { child, data })
    }

    /// The address of the WebSocket.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        Ok(format!("ws://{}/ws", self.child.addr("gateway")?))
    }

    /// Where the gRPC services listen.
    pub(crate) fn grpc(&self) -> anyhow::Result<SocketAddr> {
        self.child.addr("grpc")
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data.path().join("data").join(DATABASE)
    }

    /// What of it is counted.
    pub(crate) fn meters(&self) -> Meters {
        Meters(vec![Meter { name: "mingle", counted: true, pids: vec![self.pid()] }])
    }

    /// Kills it; its data goes too.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.child.stop().await
    }
}

/// Version and build profile of a process, as it says itself.
pub(crate) async fn build(addr: SocketAddr) -> anyhow::Result<String> {
    let mut client = DiagnosticsServiceClient::new(channel(addr).await?);
    Ok(client.describe(DescribeRequest::default()).await?.into_inner().build)
}

/// A connection to a gRPC server.
pub(crate) async fn channel(addr: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("cannot connect to {addr}"))
}
