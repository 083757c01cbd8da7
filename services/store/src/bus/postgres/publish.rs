//! What is published, gathered into few statements.

use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    CHANNEL,
    frame::{Piece, pack},
};
use crate::{Error, ErrorKind, Result};

/// Calls that wait; further ones wait for them, within their own bound.
const QUEUE: usize = 256;
/// Calls whose pieces go out together.
const GATHERED: usize = 64;
/// Notifications of one statement: at most a megabyte.
const FRAMES: usize = 128;
/// Between the beginnings of two statements.
const SPACING: Duration = Duration::from_millis(2);
/// What one call may take, the statements before it included.
const CALL: Duration = Duration::from_secs(1);
/// Between two tries to connect to a server that refuses.
const PAUSE: Duration = Duration::from_millis(100);

struct Job {
    pieces: Vec<Piece>,
    done: oneshot::Sender<Result<()>>,
}

/// The publishing side. Its task ends with it.
pub(super) struct Publisher {
    queue: mpsc::Sender<Job>,
}

impl Publisher {
    pub(super) fn start(direct: PgConnectOptions) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve(direct, waiting));
        Self { queue }
    }

    /// Says these pieces, in their order, after those of earlier calls.
    pub(super) async fn publish(&self, pieces: Vec<Piece>) -> Result<()> {
        let late = |_| Error::new(ErrorKind::Timeout, "postgres notify");
        let gone = || Error::new(ErrorKind::Unavailable, "postgres notify");
        let said = async {
            let (done, answer) = oneshot::channel();
            self.queue.send(Job { pieces, done }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        timeout(CALL, said).await.map_err(late)?
    }
}

async fn serve(direct: PgConnectOptions, mut queue: mpsc::Receiver<Job>) {
    let mut line = Line { direct, session: None, pause_until: None };
    let mut number = rand::random();
    let mut jobs = Vec::new();
    let mut next = Instant::now();
    loop {
        sleep_until(next).await;
        if queue.recv_many(&mut jobs, GATHERED).await == 0 {
            return;
        }
        next = Instant::now() + SPACING;
        // Whoever waits no more said it elsewhere, or told of the failure.
        jobs.retain(|job| !job.done.is_closed());
        let frames = pack(jobs.iter().flat_map(|job| &job.pieces), &mut number);
        let mut said = Ok(());
        for frames in frames.chunks(FRAMES) {
            if said.is_ok() {
                said = line.notify(frames).await;
            }
        }
        for job in jobs.drain(..) {
            // Its caller may have gone meanwhile.
            let _ = job.done.send(said.clone());
        }
    }
}

/// The one connection. A pool would ask it after each statement whether it
/// lives, without a bound: a host that vanished would end all publishing.
struct Line {
    direct: PgConnectOptions,
    session: Option<PgConnection>,
    /// The server refused: it is not asked again before.
    pause_until: Option<Instant>,
}

impl Line {
    /// One statement and its transaction. What fails is closed.
    async fn notify(&mut self, frames: &[String]) -> Result<()> {
        if self.pause_until.is_some_and(|until| Instant::now() < until) {
            return Err(Error::new(ErrorKind::Unavailable, "postgres notify"));
        }
        let said = timeout(CALL, self.say(frames)).await;
        if !matches!(said, Ok(Ok(()))) {
            self.session = None;
        }
        said.map_err(|_| Error::new(ErrorKind::Timeout, "postgres notify"))??;
        Ok(())
    }

    /// A connection that was made before may have ended since: what it refuses
    /// is said on another. Said twice it is one, by its position.
    async fn say(&mut self, frames: &[String]) -> sqlx::Result<()> {
        if let Some(session) = &mut self.session
            && execute(session, frames).await.is_ok()
        {
            return Ok(());
        }
        self.session = None;
        let connected = self.direct.connect().await;
        self.pause_until = connected.is_err().then(|| Instant::now() + PAUSE);
        execute(self.session.insert(connected?), frames).await
    }
}

/// In one turn, one transaction and with its own settings, so that it may go
/// through a pooler.
async fn execute(session: &mut PgConnection, frames: &[String]) -> sqlx::Result<()> {
    // Frames are base64: nothing in them ends a literal.
    let frames = frames.join("'), ('");
    let bound = CALL.as_millis();
    let statement = format!(
        "begin; set local synchronous_commit = off; set local statement_timeout = {bound}; \
         select pg_notify('{CHANNEL}', frame) from (values ('{frames}')) as frames (frame); commit"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(session).await?;
    Ok(())
}
