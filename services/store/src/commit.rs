//! Group commit: many concurrent writers share one transaction.
//!
//! Items go to a lane by the hash of their key, so that one key has one
//! order. While one batch of a lane commits, the next gathers; a lone writer
//! waits for nobody.
//!
//! | what fails | what happens |
//! |---|---|
//! | an item is refused by the batch | its own outcome says so, its neighbours are committed |
//! | the transaction fails for good | rolled back, then rerun item by item: only the guilty fail |
//! | another process's transaction was first (conflict, deadlock) | rolled back and rerun, which finds what it wrote: whole, up to 3 times in all, then item by item, each up to 4 times, then `Unavailable` |
//! | the outcome of the commit is unknown (transient) | every item of the batch answers that error; the retry finds what happened by its request key |
//! | the batch panics | as an unknown outcome; the lane goes on |
//! | the caller goes away | its item is committed all the same |

use std::{
    any::type_name,
    error::Error as _,
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::{Error, ErrorKind, Result};

/// Items of one transaction at most.
pub const MAX_BATCH: usize = 256;
/// Items that wait in one lane; beyond, callers wait within their deadline.
const QUEUE: usize = 4 * MAX_BATCH;
/// Runs of a batch that other writers came before. Item by item it would be as
/// many transactions as items, most of all when there is no time for them.
const TOGETHER: usize = 3;
/// Runs of an item alone that other writers came before.
const ATTEMPTS: usize = 4;

/// What the lanes run.
#[async_trait]
pub trait Batch: Send + Sync + 'static {
    /// One writer's wish, validated already.
    type Item: Send + Sync + 'static;
    /// What became of it, refusals included.
    type Outcome: Send + 'static;

    /// Runs `items` in one transaction and answers each, in order. On an
    /// error nothing was committed, or, if it is transient, perhaps all.
    async fn run(&self, items: &[Self::Item]) -> Result<Vec<Self::Outcome>>;
}

struct Waiting<B: Batch> {
    item: B::Item,
    reply: oneshot::Sender<Result<B::Outcome>>,
}

/// The lanes of one kind of batch. Ends with its last clone.
pub struct Lanes<B: Batch> {
    lanes: Arc<[mpsc::Sender<Waiting<B>>]>,
}

impl<B: Batch> Clone for Lanes<B> {
    fn clone(&self) -> Self {
        Self { lanes: self.lanes.clone() }
    }
}

impl<B: Batch> Lanes<B> {
    /// Starts `lanes` lanes that share `batch`; at least one. A backend with
    /// one writer gains nothing from more.
    pub fn start(batch: Arc<B>, lanes: usize, max_batch: usize) -> Self {
        let max_batch = max_batch.clamp(1, MAX_BATCH);
        let lanes = (0..lanes.max(1))
            .map(|_| {
                let (sender, queue) = mpsc::channel(QUEUE);
                tokio::spawn(serve(batch.clone(), queue, max_batch));
                sender
            })
            .collect();
        Self { lanes }
    }

    /// Hands `item` to the lane of `key` and waits for what became of it.
    ///
    /// **Errors**: those of the batch; `Unavailable` when the lane is gone.
    pub async fn submit(&self, key: &str, item: B::Item) -> Result<B::Outcome> {
        let (reply, outcome) = oneshot::channel();
        let gone = || Error::new(ErrorKind::Unavailable, "commit lane");
        self.lane(key).send(Waiting { item, reply }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// How many items wait in all lanes, each time that it is asked; `None` once
    /// they are gone.
    pub fn backlog(&self) -> impl Fn() -> Option<usize> + Send + 'static + use<B> {
        let lanes: Vec<_> = self.lanes.iter().map(mpsc::Sender::downgrade).collect();
        move || {
            let waiting = |lane: mpsc::Sender<_>| lane.max_capacity() - lane.capacity();
            lanes.iter().map(|lane| lane.upgrade().map(waiting)).sum()
        }
    }

    fn lane(&self, key: &str) -> &mpsc::Sender<Waiting<B>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let lanes = self.lanes.len() as u64;
        // The remainder is below the number of lanes.
        &self.lanes[usize::try_from(hasher.finish() % lanes).unwrap_or(0)]
    }
}

async fn serve<B: Batch>(batch: Arc<B>, mut queue: mpsc::Receiver<Waiting<B>>, max_batch: usize) {
    let mut gathered = Vec::with_capacity(max_batch);
    let mut fails = false;
    while queue.recv_many(&mut gathered, max_batch).await > 0 {
        let (items, replies): (Vec<_>, Vec<_>) =
            gathered.drain(..).map(|waiting| (waiting.item, waiting.reply)).unzip();
        let outcomes = outcomes(&*batch, &items).await;
        fails = tell(&outcomes, fails, type_name::<B>());
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // A caller that went away does not need its answer.
            let _ = reply.send(outcome);
        }
    }
}

/// Logs when batches begin to fail for want of a backend (a full disk, a server
/// that is away), and when they succeed again. Answers whether they fail now.
fn tell<T>(outcomes: &[Result<T>], failed: bool, batch: &'static str) -> bool {
    let failure = outcomes
        .iter()
        .filter_map(|it| it.as_ref().err())
        .find(|it| it.is_transient() && !it.is_undone());
    match failure {
        Some(error) if !failed => {
            let source = error.source().map(ToString::to_string);
            tracing::warn!(batch, %error, source, "batches fail: each caller is told to try again");
        }
        None if failed => tracing::info!(batch, "batches succeed again"),
        _ => {}
    }
    failure.is_some()
}

async fn outcomes<B: Batch>(batch: &B, items: &[B::Item]) -> Vec<Result<B::Outcome>> {
    let mut done = run(batch, items).await;
    for _ in 1..TOGETHER {
        if !done.as_ref().is_err_and(is_conflict) {
            break;
        }
        done = run(batch, items).await;
    }
    match done {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if error.is_transient() || (items.len() == 1 && !is_conflict(&error)) => {
            items.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => {
            if items.len() > 1 {
                tracing::warn!(items = items.len(), %error, "batch failed, running its items alone");
            }
            let mut outcomes = Vec::with_capacity(items.len());
            for item in items {
                outcomes.push(alone(batch, item).await);
            }
            outcomes
        }
    }
}

async fn alone<B: Batch>(batch: &B, item: &B::Item) -> Result<B::Outcome> {
    for _ in 0..ATTEMPTS {
        match run(batch, std::slice::from_ref(item)).await {
            Err(error) if is_conflict(&error) => {}
            other => return other.and_then(|mut one| one.pop().ok_or_else(miscounted)),
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "other writers were first").undone())
}

fn is_conflict(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict
}

async fn run<B: Batch>(batch: &B, items: &[B::Item]) -> Result<Vec<B::Outcome>> {
    // A panic is a defect of one batch, never the end of its lane.
    let run = AssertUnwindSafe(batch.run(items)).catch_unwind().await;
    let panicked = |_| Error::new(ErrorKind::Unavailable, "batch panicked");
    let outcomes = run.map_err(panicked)??;
    if outcomes.len() == items.len() { Ok(outcomes) } else { Err(miscounted()) }
}

fn miscounted() -> Error {
    Error::new(ErrorKind::Corrupt, "batch answered another number of items")
}
