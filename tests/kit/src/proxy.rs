//! A way to a server on which things go wrong: a TCP proxy in the test's own
//! process.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::timeout,
};

const BUFFER: usize = 16 * 1024;

/// What is wrong with the way, for connections that are there and new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Connections are reset, new ones at once.
    Cut,
    /// Nothing passes and nobody is told, as when a host is gone. What was on
    /// its way passes when the fault ends.
    Silent,
    /// Requests arrive, answers do not.
    NoAnswers,
    /// Requests do not arrive.
    NoRequests,
    /// What is read passes so much later.
    Slow(Duration),
    /// So many bytes pass in a second, each way of each connection.
    Narrow(u32),
    /// Connections that are there pass, new ones are silent.
    Full,
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Fault {
    /// How long these bytes wait; `None`: until the fault ends.
    fn holds(self, way: Way, bytes: usize) -> Option<Duration> {
        match (self, way) {
            (Self::Silent, _)
            | (Self::NoAnswers, Way::ToClient)
            | (Self::NoRequests, Way::ToServer) => None,
            (Self::Slow(time), _) => Some(time),
            (Self::Narrow(rate), _) => {
                Some(Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1))))
            }
            _ => Some(Duration::ZERO),
        }
    }
}

/// What went through a proxy so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were accepted.
    pub connections: u64,
    /// Of them, those that a fault reset.
    pub cut: u64,
    /// Bytes that arrived at the server.
    pub to_server: u64,
    /// Bytes that arrived at clients.
    pub to_client: u64,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    cut: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

struct Shared {
    server: SocketAddr,
    fault: watch::Sender<Fault>,
    /// Connections older than this one are stranded.
    stranded: watch::Sender<u64>,
    /// Those that were there when the fault began.
    known: AtomicU64,
    counts: Counts,
}

/// See the module. It ends with this value.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.fault.send_replace(Fault::Cut);
    }
}

impl Proxy {
    /// To a server on this machine.
    ///
    /// # Panics
    ///
    /// When no port can be had.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = crate::server::must(TcpListener::bind("127.0.0.1:0").await, "a port");
        let address = crate::server::must(listener.local_addr(), "its address");
        let shared = Arc::new(Shared {
            server,
            fault: watch::Sender::default(),
            stranded: watch::Sender::default(),
            known: AtomicU64::new(0),
            counts: Counts::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// Where to connect in place of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The way has this fault from now on.
    pub fn set(&self, fault: Fault) {
        self.shared.known.store(self.shared.counts.connections.load(Relaxed), Relaxed);
        self.shared.fault.send_replace(fault);
    }

    /// The connections that are there are silent for good, as those to a host
    /// that was replaced; new ones are not.
    pub fn strand(&self) {
        self.shared.stranded.send_replace(self.shared.counts.connections.load(Relaxed));
    }

    /// What went through so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let counts = &self.shared.counts;
        Traffic {
            connections: counts.connections.load(Relaxed),
            cut: counts.cut.load(Relaxed),
            to_server: counts.to_server.load(Relaxed),
            to_client: counts.to_client.load(Relaxed),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.counts.connections.fetch_add(1, Relaxed) + 1;
        tokio::spawn(connection(client, shared.clone(), number));
    }
}

/// Forwards until either side ends, or a fault cuts it.
async fn connection(mut client: TcpStream, shared: Arc<Shared>, number: u64) {
    let Ok(mut server) = TcpStream::connect(shared.server).await else { return };
    let _ = (server.set_nodelay(true), client.set_nodelay(true));
    let mut faults = shared.fault.subscribe();
    let is_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            _ = faults.wait_for(|fault| *fault == Fault::Cut) => true,
            () = pump((from_client, to_server), &shared, (Way::ToServer, number)) => false,
            () = pump((from_server, to_client), &shared, (Way::ToClient, number)) => false,
        }
    };
    if is_cut {
        // A reset, not an end: nobody may take it for an answer.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
        shared.counts.cut.fetch_add(1, Relaxed);
    }
}

async fn pump(
    (mut from, mut to): (ReadHalf<'_>, WriteHalf<'_>),
    shared: &Shared,
    (way, number): (Way, u64),
) {
    let counted = match way {
        Way::ToServer => &shared.counts.to_server,
        Way::ToClient => &shared.counts.to_client,
    };
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        held(shared, (way, number), read).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        counted.fetch_add(read as u64, Relaxed);
    }
}

/// Waits for as long as the faults of the way hold these bytes.
async fn held(shared: &Shared, (way, number): (Way, u64), bytes: usize) {
    let (mut faults, mut stranded) = (shared.fault.subscribe(), shared.stranded.subscribe());
    loop {
        if *stranded.borrow_and_update() >= number {
            pending::<()>().await;
        }
        let fault = *faults.borrow_and_update();
        let is_late = fault == Fault::Full && number > shared.known.load(Relaxed);
        let holds = if is_late { None } else { fault.holds(way, bytes) };
        let wait = async {
            match holds {
                Some(time) => drop(timeout(time, pending::<()>()).await),
                None => pending().await,
            }
        };
        tokio::select! {
            () = wait => return,
            _ = faults.changed() => {}
            _ = stranded.changed() => {}
        }
    }
}
