//! What is published, gathered into few statements.

use std::time::Duration;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
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
    let bound = CALL.as_millis().to_string();
    let settings = [("synchronous_commit", "off"), ("statement_timeout", bound.as_str())];
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CALL)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(direct.options(settings));
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
                said = notify(&pool, frames).await;
            }
        }
        for job in jobs.drain(..) {
            // Its caller may have gone meanwhile.
            let _ = job.done.send(said.clone());
        }
    }
}

/// One statement and its transaction.
async fn notify(pool: &PgPool, frames: &[String]) -> Result<()> {
    let late = |_| Error::new(ErrorKind::Timeout, "postgres notify");
    let mut session = timeout(CALL, pool.acquire()).await.map_err(late)??;
    let statement = sqlx::query("select pg_notify($1, frame) from unnest($2::text[]) as frame")
        .bind(CHANNEL)
        .bind(frames)
        .execute(&mut *session);
    let done = timeout(CALL, statement).await;
    if !matches!(done, Ok(Ok(_))) {
        // It may still be answering the statement: the next one gets another.
        drop(session.detach());
    }
    done.map_err(late)??;
    Ok(())
}
