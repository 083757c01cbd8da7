//! Keeps one bidirectional stream to a service open for good.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Requests that wait for the stream; beyond, whoever asks waits.
const QUEUE: usize = 1024;
const IN_FLIGHT: usize = 64;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The requests that a stream is fed with.
pub(crate) type Feed<T> = ReceiverStream<T>;

/// The side of a stream that knows what it is about.
#[async_trait]
pub(crate) trait Follow: Send + Sync + 'static {
    /// What is asked of the service.
    type Request: Send + 'static;
    /// What it answers.
    type Response: Send + 'static;

    /// Opens a stream.
    async fn open(&self, feed: Feed<Self::Request>) -> Result<Streaming<Self::Response>, Status>;

    /// What a new stream must be asked for: everything followed now.
    fn everything(&self) -> Vec<Self::Request>;

    /// Takes an answer.
    async fn take(&self, response: Self::Response);

    /// The name of the service, for logs.
    fn name(&self) -> &'static str;
}

/// Runs for the life of the process: opens, asks for everything, passes on
/// requests, and opens again with full jitter when the stream ends.
pub(crate) async fn run<F: Follow>(follow: Arc<F>, mut requests: mpsc::Receiver<F::Request>) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let outcome = one(&*follow, &mut requests).await;
        if outcome.received {
            backoff = BACKOFF_MIN;
        }
        tracing::debug!(service = follow.name(), status = ?outcome.status, "stream ended");
        let pause = rand::rng().random_range(Duration::ZERO..backoff);
        backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::time::sleep(pause).await;
    }
}

/// The channel whose receiving end [`run`] takes.
pub(crate) fn channel<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel(QUEUE)
}

struct Outcome {
    received: bool,
    status: Option<Status>,
}

async fn one<F: Follow>(follow: &F, requests: &mut mpsc::Receiver<F::Request>) -> Outcome {
    let mut received = false;
    let (sender, feed) = mpsc::channel(IN_FLIGHT);
    // What is asked for between this look and the stream waits in `requests`.
    let mut first = follow.everything().into_iter();
    let mut next = first.next();
    let mut stream = match follow.open(ReceiverStream::new(feed)).await {
        Ok(stream) => stream,
        Err(status) => return Outcome { received, status: Some(status) },
    };
    loop {
        tokio::select! {
            answer = stream.message() => match answer {
                Ok(Some(response)) => {
                    received = true;
                    follow.take(response).await;
                }
                Ok(None) => return Outcome { received, status: None },
                Err(status) => return Outcome { received, status: Some(status) },
            },
            permit = sender.reserve(), if next.is_some() => {
                let (Ok(permit), Some(request)) = (permit, next.take()) else {
                    return Outcome { received, status: None };
                };
                permit.send(request);
                next = first.next();
            }
            request = requests.recv(), if next.is_none() => match request {
                Some(request) => next = Some(request),
                None => return Outcome { received, status: None },
            },
        }
    }
}
