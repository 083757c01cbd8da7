//! Accepts connections: bounded in number, in how many come in a second, and in
//! the time that a head may take to arrive, so that half-open ones cost little
//! and end, and everybody at once comes one after the other.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{config::Limits, pace::Pace};

/// Read buffer of a connection while it speaks HTTP.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes that the kernel takes for a connection beyond what is on its way.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 * 1024;
/// After a failed accept: the process is out of files, others must end first.
const PAUSE: Duration = Duration::from_millis(50);

/// Time for an open request to end once the gateway goes away.
const LAST_REQUEST: Duration = Duration::from_secs(3);

/// The bounds of the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections, sockets included; more wait in the backlog.
    pub connections: usize,
    /// Of them, those accepted in a second; more wait likewise.
    pub(crate) per_second: u32,
    /// A peer that takes nothing for this long is gone.
    pub(crate) stalled: Duration,
    /// Time for the head of a request.
    pub head: Duration,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            connections: limits.max_connections,
            per_second: limits.accepts_per_second,
            stalled: limits.dead_after(),
            head: limits.hello_timeout(),
        }
    }
}

/// What an upgraded connection keeps: its place among the connections.
#[derive(Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Accepts until `stop`; open requests end by themselves, on `tasks`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    (stop, tasks): (CancellationToken, TaskTracker),
) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut pace = Pace::per_second(bounds.per_second);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room, &mut pace) => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Some((stream, guest)) => {
                let router = router.clone();
                tasks.spawn(connection(stream, router, guest, (bounds, stop.clone())));
            }
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    pace: &mut Pace,
) -> Option<(TcpStream, (Peer, Place))> {
    let permit = room.clone().acquire_owned().await.ok()?;
    if pace.turn().await {
        metrics::counter!("mingle_gateway_accepts_delayed_total").increment(1);
    }
    let (stream, peer) = listener
        .accept()
        .await
        .inspect_err(|error| tracing::warn!(%error, "cannot accept a connection"))
        .ok()?;
    metrics::counter!("mingle_gateway_accepts_total").increment(1);
    Some((stream, (Peer(peer.ip()), Place(Arc::new(permit)))))
}

/// What is owed to a peer that does not read waits in its socket's own queue,
/// which is bounded and closes it, and not in the kernel's, which grows to
/// megabytes. Where the kernel cannot be asked to, it does as it does.
fn bound_unsent(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Serves one connection; after an upgrade the socket's own task goes on.
async fn connection(
    stream: TcpStream,
    router: Router,
    (peer, place): (Peer, Place),
    (bounds, stop): (Bounds, CancellationToken),
) {
    // Frames are small and wait for nobody.
    let _ = stream.set_nodelay(true);
    bound_unsent(&stream);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(bounds.stalled));
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place.clone());
        request.map(axum::body::Body::new)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service))
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    // A peer that breaks off is no failure of ours.
    tokio::select! {
        _ = &mut served => {}
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_REQUEST, served).await;
        }
    }
}
