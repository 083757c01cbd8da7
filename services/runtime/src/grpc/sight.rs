//! Ends the streams of a process that does not see what they are to tell.
//!
//! A stream stays with the instance that it was opened at. One that is cut off
//! alone from what its streams tell of would keep them, and their readers would
//! hear nothing that the other instances know. So it ends them UNAVAILABLE, and
//! opens none until it sees again: callers open theirs elsewhere.
//!
//! | what is not seen | what follows |
//! |---|---|
//! | less than 5 s | nothing: waiting is cheaper than to open every stream anew |
//! | longer, here alone | streams end, and are refused; three refusals in a row eject the instance at its caller |
//! | longer, at every instance | the same, and callers ask again with back-off: a refusal costs one call, since nothing is followed before a stream is open |
//! | seen again | streams are opened |

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use mingle_proto::errors::v1::Reason;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::status::{self, Kind};

/// How long nothing must be seen before streams end.
const BLIND: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Whether a process sees what its streams tell of. It does until
/// [`Sight::keep`] finds otherwise.
#[derive(Clone)]
pub struct Sight {
    state: Arc<State>,
}

struct State {
    /// For the log.
    role: &'static str,
    /// The first look in vain since the last that was not.
    since: Mutex<Option<Instant>>,
    blind: watch::Sender<bool>,
}

impl Sight {
    /// Of the streams of `role`.
    pub fn new(role: &'static str) -> Self {
        let state = State { role, since: Mutex::default(), blind: watch::Sender::new(false) };
        Self { state: Arc::new(state) }
    }

    /// Looks by `sees`, each second or as often as it answers, until `stop`.
    pub async fn keep<F>(self, stop: CancellationToken, sees: impl Fn() -> F)
    where
        F: Future<Output = bool>,
    {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looking = async {
            loop {
                ticks.tick().await;
                self.note(sees().await);
            }
        };
        stop.run_until_cancelled(looking).await;
    }

    /// Takes note of one look. Only looks count, and not the time between them:
    /// a process that stood still is not blind for it.
    fn note(&self, sees: bool) {
        let is_blind = {
            let mut since = self.state.since.lock();
            let now = Instant::now();
            if sees {
                *since = None;
            } else {
                since.get_or_insert(now);
            }
            since.is_some_and(|since| now.duration_since(since) >= BLIND)
        };
        let changed = self.state.blind.send_if_modified(|blind| {
            let was = std::mem::replace(blind, is_blind);
            was != is_blind
        });
        let role = self.state.role;
        match (changed, is_blind) {
            (true, true) => tracing::warn!(role, "blind: streams end, and are refused"),
            (true, false) => tracing::info!(role, "sees again: streams are served"),
            (false, _) => {}
        }
    }

    /// The stream that `open` begins, for as long as there is something to be
    /// seen.
    ///
    /// **Errors**: UNAVAILABLE while there is not; then nothing is begun.
    pub fn watch<S>(&self, open: impl FnOnce() -> S) -> Result<Sighted<S>, Status> {
        let mut blind = self.state.blind.subscribe();
        if *blind.borrow_and_update() {
            return Err(refusal());
        }
        // Held, so that the end of it is none of the stream.
        let state = self.state.clone();
        let lost = Box::pin(async move {
            let _ = blind.wait_for(|blind| *blind).await;
            drop(state);
        });
        Ok(Sighted { inner: open(), lost, ended: false })
    }
}

fn refusal() -> Status {
    let message = "this instance does not see what the stream tells of; open it elsewhere";
    status::refuse(Kind::Unavailable, Reason::Unavailable, message)
}

pin_project! {
    /// A stream that ends UNAVAILABLE when its process does not see what it is to
    /// tell. What still waits in it then is dropped: the next stream begins with
    /// the state.
    pub struct Sighted<S> {
        #[pin]
        inner: S,
        lost: Pin<Box<dyn Future<Output = ()> + Send>>,
        ended: bool,
    }
}

impl<T, S: Stream<Item = Result<T, Status>>> Stream for Sighted<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        if this.lost.as_mut().poll(cx).is_ready() {
            *this.ended = true;
            return Poll::Ready(Some(Err(refusal())));
        }
        this.inner.poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio_stream::StreamExt as _;
    use tonic::Code;

    use super::*;

    /// A process and whether it sees.
    struct Process {
        sight: Sight,
        sees: Arc<AtomicBool>,
        stop: CancellationToken,
    }

    impl Process {
        fn start() -> Self {
            let (sight, stop) = (Sight::new("chat"), CancellationToken::new());
            let sees = Arc::new(AtomicBool::new(true));
            let looks = sees.clone();
            let look = move || std::future::ready(looks.load(Ordering::Relaxed));
            tokio::spawn(sight.clone().keep(stop.clone(), look));
            Self { sight, sees, stop }
        }

        async fn pass(&self, sees: bool, secs: u64) {
            self.sees.store(sees, Ordering::Relaxed);
            let pass = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_secs(secs), pass).await;
        }

        fn open(&self) -> Result<Sighted<impl Stream<Item = Result<(), Status>> + use<>>, Status> {
            self.sight.watch(tokio_stream::pending::<Result<(), Status>>)
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_blind_process_ends_its_streams_and_opens_none_until_it_sees() {
        let process = Process::start();
        let mut stream = process.open().unwrap();
        process.pass(false, 4).await;
        process.pass(true, 3).await;
        process.pass(false, 4).await;
        let next = tokio::time::timeout(Duration::from_millis(1), stream.next()).await;
        assert!(next.is_err(), "twice four seconds are not five");
        assert!(process.open().is_ok());
        process.pass(false, 4).await;
        let told = stream.next().await.unwrap().unwrap_err();
        assert_eq!(told.code(), Code::Unavailable);
        assert!(stream.next().await.is_none());
        assert_eq!(process.open().err().unwrap().code(), Code::Unavailable);
        process.pass(true, 2).await;
        assert!(process.open().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_is_not_blind() {
        let process = Process::start();
        process.pass(true, 2).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        process.pass(true, 0).await;
        assert!(process.open().is_ok());
    }

    #[tokio::test]
    async fn a_stream_outlives_its_process_s_sight() {
        let sight = Sight::new("chat");
        let stream = sight.watch(|| tokio_stream::iter([Ok(1), Ok(2)])).unwrap();
        drop(sight);
        let told: Result<Vec<_>, Status> = stream.collect().await;
        assert_eq!(told.unwrap(), [1, 2]);
    }
}
