//! Greeted sockets, very many in one process.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mingle_client::ws::{
    Encoding, Incoming, Socket,
    proto::{ClientFrame, Hello, ServerFrame, client_frame, server_frame},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Duration, Instant},
};

use crate::token;

/// Sockets that are being connected at once.
pub(crate) const CONNECTING: usize = 64;
/// A process has 20,000 files; some are needed otherwise.
pub(crate) const MOST: usize = 19_000;
/// Frames that wait to be written to one socket; then the generator waits.
const WAITING: usize = 256;
/// The id of a request that is waited for.
const ASKED: u32 = 1;
const LOOK: Duration = Duration::from_millis(20);

/// Connects and greets `users`, in their order; to several `urls` in turn.
pub(crate) async fn connect(urls: &[String], users: &[String]) -> anyhow::Result<Vec<Socket>> {
    ensure!(users.len() <= MOST, "{} sockets are more than {MOST}", users.len());
    let greeting = urls.iter().cycle().zip(users).map(|(url, user)| greet(url, user));
    stream::iter(greeting).buffered(CONNECTING).try_collect().await
}

async fn greet(url: &str, user: &str) -> anyhow::Result<Socket> {
    welcome(Socket::connect(url, Encoding::Proto).await?, user).await
}

/// Says hello as `user` and waits for the welcome.
pub(crate) async fn welcome(mut socket: Socket, user: &str) -> anyhow::Result<Socket> {
    let hello = Hello { token: token::mint(user)?, resume: None };
    let reply = ask(&mut socket, client_frame::Kind::Hello(hello)).await?;
    match reply {
        server_frame::Kind::Welcome(_) => Ok(socket),
        other => bail!("the hello of {user} was answered by {other:?}"),
    }
}

/// Sends one request and waits for its reply; events meanwhile are skipped.
pub(crate) async fn ask(
    socket: &mut Socket,
    kind: client_frame::Kind,
) -> anyhow::Result<server_frame::Kind> {
    socket
        .send_frame(&ClientFrame { id: ASKED, kind: Some(kind), ..ClientFrame::default() })
        .await?;
    loop {
        match socket.next().await? {
            Incoming::Frame(ServerFrame { id: Some(ASKED), kind: Some(kind) }) => return Ok(kind),
            Incoming::Frame(_) => {}
            Incoming::Closed(code, reason) => bail!("closed with {code}: {reason}"),
        }
    }
}

/// How far a measurement is, told by the tasks of its sockets.
#[derive(Default)]
pub(crate) struct Progress {
    done: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Progress {
    /// One more is done.
    pub(crate) fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// The measurement has failed; the first reason stays.
    pub(crate) fn fail(&self, reason: String) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(reason);
    }

    /// Waits until `count` are done.
    ///
    /// **Errors**: the failure that was told; or how many were done, at the end
    /// of `patience`.
    pub(crate) async fn wait(&self, count: u64, patience: Duration) -> anyhow::Result<()> {
        let by = Instant::now() + patience;
        loop {
            if let Some(reason) =
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
            {
                bail!(reason);
            }
            let done = self.done.load(Ordering::Relaxed);
            if done >= count {
                return Ok(());
            }
            ensure!(Instant::now() < by, "{done} of {count} were done after {patience:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A socket that writes what it is given and hands on what it reads. It ends
/// when this is dropped.
pub(crate) struct Driven {
    frames: mpsc::Sender<ClientFrame>,
    task: JoinHandle<()>,
}

impl Driven {
    /// Drives `socket`; `read` sees each frame as it comes. A socket that ends
    /// fails `progress`.
    pub(crate) fn new(
        socket: Socket,
        progress: Arc<Progress>,
        read: impl FnMut(ServerFrame) + Send + 'static,
    ) -> Self {
        let (frames, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(async move {
            if let Err(error) = drive(socket, waiting, read).await {
                progress.fail(format!("{error:#}"));
            }
        });
        Self { frames, task }
    }

    /// Where to put frames, from a thread of one's own.
    pub(crate) fn frames(&self) -> mpsc::Sender<ClientFrame> {
        self.frames.clone()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(
    mut socket: Socket,
    mut waiting: mpsc::Receiver<ClientFrame>,
    mut read: impl FnMut(ServerFrame),
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            Some(frame) = waiting.recv() => socket.send_frame(&frame).await.context("cannot write")?,
            incoming = socket.next() => match incoming? {
                Incoming::Frame(frame) => read(frame),
                Incoming::Closed(code, reason) => bail!("a socket was closed with {code}: {reason}"),
            },
        }
    }
}
