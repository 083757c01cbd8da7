//! Keeps one bidirectional stream to a service open for good.

use std::{collections::VecDeque, future::Future, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::Rng as _;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Wishes that wait for the stream to take them; beyond, whoever wishes waits.
/// As many are kept while there is none; beyond, they are forgotten.
const QUEUE: usize = 1024;
const IN_FLIGHT: usize = 64;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A stream that lived this long begins anew without delay.
const STEADY: Duration = Duration::from_secs(5);
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The requests that a stream is fed with.
pub(crate) type Feed<T> = ReceiverStream<T>;

/// The side of a stream that knows what it is about.
///
/// What is followed is known by keys. A change of a key is a *wish*, turned
/// into a request only when it is sent: from what is followed then, so that
/// two changes of one key in any order end with the truth.
#[async_trait]
pub(crate) trait Follow: Send + Sync + 'static {
    /// A change of what is followed.
    type Wish: Send + 'static;
    /// What is asked of the service.
    type Request: Send + 'static;
    /// What it answers.
    type Response: Send + 'static;

    /// Opens a stream.
    async fn open(&self, feed: Feed<Self::Request>) -> Result<Streaming<Self::Response>, Status>;

    /// What a new stream must be asked for: everything followed now.
    fn everything(&self) -> Vec<Self::Request>;

    /// What to ask for a wish, from what is followed now.
    fn request(&self, wish: Self::Wish) -> Self::Request;

    /// True for a wish that [`Follow::everything`] does not cover.
    fn outlives(&self, _: &Self::Wish) -> bool {
        false
    }

    /// Takes an answer; what must be asked because of it is returned.
    async fn take(&self, response: Self::Response) -> Option<Self::Request>;

    /// The name of the service, for logs.
    fn name(&self) -> &'static str;
}

/// Runs for the life of the process: opens, asks for everything, passes on
/// wishes, and opens again with full jitter when the stream ends.
pub(crate) async fn run<F: Follow>(follow: Arc<F>, mut wishes: mpsc::Receiver<F::Wish>) {
    let mut backoff = BACKOFF_MIN;
    let mut kept = VecDeque::new();
    loop {
        let opened = Instant::now();
        let status = one(&*follow, &mut wishes, &mut kept).await;
        // A stream that is refused as soon as it says what it is about is no
        // reason to hurry.
        if opened.elapsed() > STEADY {
            backoff = BACKOFF_MIN;
        }
        tracing::debug!(service = follow.name(), ?status, "stream ended");
        let pause = rand::rng().random_range(Duration::ZERO..backoff);
        backoff = (backoff * 2).min(BACKOFF_MAX);
        meanwhile(&*follow, (&mut wishes, &mut kept), tokio::time::sleep(pause)).await;
    }
}

/// Awaits `work` while there is no stream. Whoever wishes then waits for
/// nothing: the next stream asks for everything, and for what is kept.
async fn meanwhile<F: Follow, T>(
    follow: &F,
    (wishes, kept): (&mut mpsc::Receiver<F::Wish>, &mut VecDeque<F::Wish>),
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(wish) = wishes.recv() => {
                if kept.len() < QUEUE && follow.outlives(&wish) {
                    kept.push_back(wish);
                }
            }
        }
    }
}

/// The channel whose receiving end [`run`] takes.
pub(crate) fn channel<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel(QUEUE)
}

/// One stream to its end.
async fn one<F: Follow>(
    follow: &F,
    wishes: &mut mpsc::Receiver<F::Wish>,
    kept: &mut VecDeque<F::Wish>,
) -> Option<Status> {
    let (sender, feed) = mpsc::channel(IN_FLIGHT);
    let open = tokio::time::timeout(OPEN_TIMEOUT, follow.open(ReceiverStream::new(feed)));
    let mut stream = match meanwhile(follow, (&mut *wishes, &mut *kept), open).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(status)) => return Some(status),
        Err(_) => return None,
    };
    let mut next = VecDeque::from(follow.everything());
    next.extend(kept.drain(..).map(|wish| follow.request(wish)));
    loop {
        tokio::select! {
            answer = stream.message() => match answer {
                Ok(Some(response)) => next.extend(follow.take(response).await),
                Ok(None) => return None,
                Err(status) => return Some(status),
            },
            permit = sender.reserve(), if !next.is_empty() => {
                let (Ok(permit), Some(request)) = (permit, next.pop_front()) else { return None };
                permit.send(request);
            }
            wish = wishes.recv(), if next.is_empty() => match wish {
                Some(wish) => next.push_back(follow.request(wish)),
                None => return None,
            },
        }
    }
}
