//! How a role stands that is called in other processes.
//!
//! A process shows for its part, under the name of a role, that the role marks
//! its replies as degraded, or refuses three calls in a row: until five seconds
//! after the last such answer, so that one of two instances does not make it
//! flicker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::Code;

use super::{
    Response,
    degraded::{DEGRADED, ending},
    methods,
};
use crate::health::Health;

/// A role is remembered as degraded for so long after an answer that says so.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Refusals in a row: one that was slow, or met a restart, is not worth a word.
const REFUSALS: u32 = 3;

/// How a role stands that is called in other processes.
#[derive(Clone)]
pub(crate) struct Standing {
    /// It said so.
    marked: Memory,
    /// It refuses.
    refused: Memory,
    /// In a row.
    refusals: Arc<AtomicU32>,
}

impl Standing {
    pub(crate) fn new(role: &'static str, health: Health) -> Self {
        let heard = health.clone();
        let marked = Memory::new(REMEMBERED, move |holds| heard.set_heard(role, holds));
        let refused = Memory::new(REMEMBERED, move |holds| health.set_degraded(role, holds));
        Self { marked, refused, refusals: Arc::default() }
    }

    /// Looks at a reply as it passes.
    pub(crate) fn observe(&self, path: &str, response: Response) -> Response {
        if methods::is_streaming(path) {
            self.judge(response.headers());
            return response;
        }
        let standing = self.clone();
        ending(response, move |trailers| standing.judge(trailers))
    }

    fn judge(&self, trailers: &HeaderMap) {
        if !is_refusal(trailers) {
            self.refusals.store(0, Relaxed);
        } else if self.refusals.fetch_add(1, Relaxed) + 1 >= REFUSALS {
            self.refused.note();
        }
        if trailers.contains_key(DEGRADED) {
            self.marked.note();
        }
    }
}

/// What holds until some time after it was noted last.
#[derive(Clone)]
struct Memory {
    lasts: Duration,
    until: Arc<Mutex<Option<Instant>>>,
    /// Told while `until` is held, so that the last word is of the last change.
    tell: Arc<dyn Fn(bool) + Send + Sync>,
}

impl Memory {
    fn new(lasts: Duration, tell: impl Fn(bool) + Send + Sync + 'static) -> Self {
        Self { lasts, until: Arc::default(), tell: Arc::new(tell) }
    }

    fn note(&self) {
        let mut until = self.until.lock();
        if until.replace(Instant::now() + self.lasts).is_none() {
            (self.tell)(true);
            tokio::spawn(self.clone().forget());
        }
    }

    async fn forget(self) {
        while let Some(until) = self.left() {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Until when it holds; `None` from when it does not.
    fn left(&self) -> Option<Instant> {
        let mut until = self.until.lock();
        if until.take_if(|until| *until <= Instant::now()).is_some() {
            (self.tell)(false);
        }
        *until
    }
}

/// Somebody is away, or does not answer in time.
fn is_refusal(trailers: &HeaderMap) -> bool {
    let code = trailers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    matches!(code, Some(Code::Unavailable | Code::DeadlineExceeded))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tokio_util::sync::CancellationToken;
    use tonic::{Status, body::Body};
    use tonic_health::server::HealthReporter;
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::{
        config::Section as _,
        grpc::{Config, Request, Stack, server::Guarded},
    };

    fn refused(code: Code) -> Response {
        Status::new(code, "as told").into_http()
    }

    /// Lets tasks begin, and see the time that passed.
    async fn pass(time: Duration) {
        tokio::task::yield_now().await;
        tokio::time::advance(time).await;
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_is_degraded_by_a_mark_or_three_refusals_in_a_row_for_a_while() {
        let health = Health::new(HealthReporter::new());
        let standing = Standing::new("chat", health.clone());
        let is_degraded = || health.degraded().borrow().contains("chat");
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::NotFound, Code::Unavailable] {
            standing.observe("/a/B", refused(code));
            assert!(!is_degraded(), "{code}");
        }
        standing.observe("/a/B", refused(Code::Unavailable));
        standing.observe("/a/B", refused(Code::Unavailable));
        assert!(is_degraded());
        pass(REMEMBERED / 2).await;
        let mut marked = refused(Code::NotFound);
        marked.headers_mut().insert(DEGRADED, http::HeaderValue::from_static("redis"));
        standing.observe("/a/B", marked);
        pass(REMEMBERED * 3 / 4).await;
        assert!(is_degraded(), "remembered from the last one on");
        pass(REMEMBERED / 2).await;
        assert!(!is_degraded());
    }

    /// A process that is called by one that it calls.
    struct Peer {
        health: Health,
        other: Standing,
        stack: Guarded,
    }

    impl Peer {
        fn new(calls: &'static str) -> Self {
            let health = Health::new(HealthReporter::new());
            let texts = [Config::DEFAULTS];
            let config = crate::config::Config::load(&texts, None, Default::default()).unwrap();
            let stack = Stack::new(&config.read().unwrap(), CancellationToken::new());
            let not_found = |_: Request| async { Ok(refused(Code::NotFound)) };
            let stack = stack.marked(&health).layer(tower::service_fn(not_found));
            Self { other: Standing::new(calls, health.clone()), health, stack }
        }

        /// Answers a call of `caller`, as the stack does.
        async fn answer(&self, caller: &Self) {
            let request = http::Request::builder().uri("http://a/a/B");
            let reply = self.stack.clone().oneshot(request.body(Body::empty()).unwrap()).await;
            caller.other.observe("/a/B", reply.unwrap());
        }

        fn is_degraded(&self) -> bool {
            !self.health.degraded().borrow().is_empty()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_call_each_other_do_not_remind_one_another() {
        let (one, other) = (Peer::new("other"), Peer::new("one"));
        one.health.set_degraded("redis", true);
        for _ in 0..4 {
            one.answer(&other).await;
            other.answer(&one).await;
            pass(REMEMBERED / 2).await;
        }
        assert!(one.is_degraded() && other.is_degraded());
        one.health.set_degraded("redis", false);
        for _ in 0..4 {
            one.answer(&other).await;
            other.answer(&one).await;
            pass(REMEMBERED / 2).await;
        }
        assert!(!one.is_degraded() && !other.is_degraded());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_says_so_to_its_callers() {
        let (front, middle) = (Peer::new("middle"), Peer::new("back"));
        for _ in 0..REFUSALS {
            middle.other.observe("/a/B", refused(Code::Unavailable));
        }
        middle.answer(&front).await;
        assert!(front.health.degraded().borrow().contains("middle"));
        assert!(front.health.seen().borrow().is_empty());
    }

    /// A memory that ends while it is noted again.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_told_is_what_is_remembered() {
        const TURNS: u32 = 50_000;
        let told = Arc::new((AtomicBool::new(false), AtomicU32::new(0)));
        let says = told.clone();
        let memory = Memory::new(Duration::ZERO, move |holds| {
            says.0.store(holds, Relaxed);
            says.1.fetch_add(1, Relaxed);
        });
        let (noting, turns) = (memory.clone(), told.clone());
        let noting = tokio::spawn(async move {
            while turns.1.load(Relaxed) < TURNS {
                noting.note();
                tokio::task::yield_now().await;
            }
        });
        let mut looks = 0;
        while !noting.is_finished() {
            {
                let until = memory.until.lock();
                assert_eq!(until.is_some(), told.0.load(Relaxed));
            }
            looks += 1;
            tokio::task::yield_now().await;
        }
        noting.await.unwrap();
        assert!(looks > 0);
    }
}
