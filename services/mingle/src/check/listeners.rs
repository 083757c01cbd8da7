//! The steps of the addresses where these roles would listen.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mingle_runtime::{grpc::remote, lifecycle, probes::ALIVE};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Asked, Found, Steps};
use crate::{judge, probe::near};

/// How long whoever listens there already is waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// More than the answer has.
const BODY: usize = 64;

/// A running Mingle at addresses of these roles.
#[derive(Default)]
pub(super) struct Beside {
    /// True when it has one of them.
    pub(super) runs: bool,
    /// Where it serves gRPC.
    pub(super) grpc: Option<SocketAddr>,
}

/// Takes each address as a start does, but without listening there.
pub(super) async fn check(steps: Steps, asked: Asked<'_>) -> Beside {
    let mut beside = Beside::default();
    for (name, address) in judge::listeners(asked.config, asked.roles) {
        let step = async {
            let (found, is_mingle) = one(name, address).await;
            beside.runs |= is_mingle;
            if is_mingle && name == "grpc" {
                beside.grpc = Some(near(address));
            }
            found
        };
        steps.run(format!("listen {name}"), step).await;
    }
    beside
}

/// What is found, and whether a Mingle has the address.
async fn one(name: &str, address: SocketAddr) -> (Found, bool) {
    let error = match lifecycle::claim(address) {
        Ok(_) if address.port() == 0 => return (Found::ok("any free port"), false),
        Ok(_) => return (Found::ok(format!("{address} is free")), false),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::AddrInUse && is_mingle(name, near(address)).await {
        let what = format!("{address} is in use, by a mingle that answers there");
        let setting = lifecycle::setting(name);
        let remedy =
            format!("none where that is the process asked about; another one needs {setting}");
        return (Found::warn(what, remedy), true);
    }
    let remedy = lifecycle::remedy(name, address, &error).await;
    (Found::fail(format!("cannot listen on {address}: {error}"), remedy), false)
}

async fn is_mingle(name: &str, address: SocketAddr) -> bool {
    let asking = async {
        if name == "grpc" { remote::is_mingle(address).await } else { is_alive(address).await }
    };
    timeout(ANSWER, asking).await.unwrap_or(false)
}

/// Asks by HTTP.
async fn is_alive(address: SocketAddr) -> bool {
    let asking = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get("/livez").header(HOST, address.to_string());
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
        let is_ok = answer.status() == StatusCode::OK;
        let body = Limited::new(answer.into_body(), BODY).collect().await.ok()?.to_bytes();
        Some(is_ok && body == ALIVE)
    };
    asking.await.unwrap_or(false)
}
