//! How a role stands that is called in other processes.
//!
//! | what is seen | what the process shows for its part |
//! |---|---|
//! | a reply is marked as degraded | whom the mark names: the role, with the server that is away, or whom the role misses in turn |
//! | three calls in a row are refused, over a second or longer | the role is degraded |
//! | it does not say how it is either, three times in a row | the role is unavailable, until any call is answered |
//!
//! The first two hold until five seconds after the last such answer, so that one
//! of two instances does not make it flicker.

use std::{
    collections::{BTreeMap, BTreeSet},
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
use crate::{Role, health::Health};

/// A role is remembered as degraded for so long after an answer that says so.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Refusals in a row: one that was slow, or met a restart, is not worth a word.
const REFUSALS: u32 = 3;
/// From the first to the last of them: calls that were made in one moment met the
/// same pause of a busy machine.
const LONG: Duration = Duration::from_secs(1);
/// Timers are no finer: a caller's own may end by so much before a deadline that
/// was counted from a little later.
const TICK: Duration = Duration::from_millis(1);
/// Names of one role that are remembered; further ones are not heard.
const MAX_NAMES: usize = 16;

/// How a role stands that is called in other processes.
#[derive(Clone)]
pub(crate) struct Standing {
    /// What it said of itself.
    marked: Memory,
    /// It refuses.
    refused: Memory,
    refusals: Arc<Mutex<Refusals>>,
    reach: Arc<Reach>,
}

/// Calls in a row that were refused.
#[derive(Default)]
struct Refusals {
    count: u32,
    /// When the first of them was.
    since: Option<Instant>,
}

impl Refusals {
    /// One more. True when they are too many.
    fn add(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.count = self.count.saturating_add(1);
        self.count >= REFUSALS && since.elapsed() >= LONG
    }
}

impl Standing {
    pub(crate) fn new(role: Role, health: Health) -> Self {
        let (heard, refuses) = (health.clone(), health.clone());
        let marked = Memory::new(REMEMBERED, move |names| heard.set_heard(role, names));
        let refused = Memory::new(REMEMBERED, move |names| {
            refuses.set_degraded(role.name(), !names.is_empty());
        });
        let reach = Reach { role, health, silences: AtomicU32::new(0), telling: Mutex::new(()) };
        Self { marked, refused, refusals: Arc::default(), reach: Arc::new(reach) }
    }

    /// Looks at a reply as it passes.
    pub(crate) fn observe(&self, path: &str, response: Response) -> Response {
        if methods::is_streaming(path) {
            self.judge(false, response.headers());
            return response;
        }
        let (standing, asks) = (self.clone(), methods::is_describe(path));
        ending(response, move |trailers| standing.judge(asks, trailers))
    }

    /// Begins to wait for the answer of a unary call that is due by then.
    pub(crate) fn wait(&self, path: &str, due: Instant) -> Wait {
        let standing = self.clone();
        Wait { standing, asks: methods::is_describe(path), due: due - TICK, is_over: false }
    }

    /// `asks` where nothing but a role out of reach refuses.
    fn judge(&self, asks: bool, trailers: &HeaderMap) {
        if is_refusal(trailers) {
            self.is_refused(asks);
        } else {
            *self.refusals.lock() = Refusals::default();
            self.reach.answers();
        }
        if let Some(mark) = trailers.get(DEGRADED) {
            let names = mark.to_str().unwrap_or(self.reach.role.name());
            self.marked.note(names.split(',').filter(|name| !name.is_empty()));
        }
    }

    fn is_refused(&self, asks: bool) {
        // The graver word first: it is said once.
        if asks {
            self.reach.is_silent();
        }
        let is_enough = self.refusals.lock().add();
        if is_enough {
            self.refused.note([self.reach.role.name()]);
        }
    }
}

/// Counts a call as refused when it is dropped unanswered at its deadline:
/// callers with a short one do not wait to be told that it passed.
pub(crate) struct Wait {
    standing: Standing,
    asks: bool,
    due: Instant,
    is_over: bool,
}

impl Wait {
    /// It is answered, and the answer observed.
    pub(crate) fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.is_over && self.due <= Instant::now() {
            self.standing.is_refused(self.asks);
        }
    }
}

/// Whether any instance says how it is.
struct Reach {
    role: Role,
    health: Health,
    /// In a row.
    silences: AtomicU32,
    /// Held while it is told, so that the last word is of the last change.
    telling: Mutex<()>,
}

impl Reach {
    fn is_silent(&self) {
        let _telling = self.telling.lock();
        if self.silences.fetch_add(1, Relaxed) + 1 >= REFUSALS {
            self.health.set_unreached(self.role, true);
        }
    }

    fn answers(&self) {
        if self.silences.load(Relaxed) > 0 {
            let _telling = self.telling.lock();
            self.silences.store(0, Relaxed);
            self.health.set_unreached(self.role, false);
        }
    }
}

/// Names that hold until some time after each was noted last.
#[derive(Clone)]
struct Memory {
    lasts: Duration,
    until: Arc<Mutex<BTreeMap<String, Instant>>>,
    /// Told while `until` is held, so that the last word is of the last change.
    tell: Arc<dyn Fn(BTreeSet<String>) + Send + Sync>,
}

impl Memory {
    fn new(lasts: Duration, tell: impl Fn(BTreeSet<String>) + Send + Sync + 'static) -> Self {
        Self { lasts, until: Arc::default(), tell: Arc::new(tell) }
    }

    fn note<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut until = self.until.lock();
        let (before, end) = (until.len(), Instant::now() + self.lasts);
        for name in names {
            if let Some(known) = until.get_mut(name) {
                *known = end;
            } else if until.len() < MAX_NAMES {
                until.insert(name.to_owned(), end);
            }
        }
        if until.len() > before {
            (self.tell)(until.keys().cloned().collect());
            if before == 0 {
                tokio::spawn(self.clone().forget());
            }
        }
    }

    async fn forget(self) {
        while let Some(until) = self.left() {
            tokio::time::sleep_until(until).await;
        }
    }

    /// When the next one ends; `None` when none holds any more.
    fn left(&self) -> Option<Instant> {
        let mut until = self.until.lock();
        let (before, now) = (until.len(), Instant::now());
        until.retain(|_, end| *end > now);
        if until.len() < before {
            (self.tell)(until.keys().cloned().collect());
        }
        until.values().min().copied()
    }
}

/// Somebody is away, or does not answer in time.
fn is_refusal(trailers: &HeaderMap) -> bool {
    let code = trailers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    matches!(code, Some(Code::Unavailable | Code::DeadlineExceeded))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::atomic::AtomicBool};

    use tokio_util::sync::CancellationToken;
    use tonic::{Status, body::Body};
    use tonic_health::server::HealthReporter;
    use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};

    use super::*;
    use crate::{
        config::Section as _,
        grpc::{Config, Request, Stack},
        states::Fault,
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
        let standing = Standing::new(Role::Chat, health.clone());
        let is_degraded = || health.degraded().borrow().contains("chat");
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::NotFound, Code::Unavailable] {
            standing.observe("/a/B", refused(code));
            assert!(!is_degraded(), "{code}");
        }
        standing.observe("/a/B", refused(Code::Unavailable));
        standing.observe("/a/B", refused(Code::Unavailable));
        assert!(!is_degraded(), "in one moment");
        pass(LONG).await;
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

    /// What a role says of how it is.
    fn says(answer: Response) -> (&'static str, Response) {
        (methods::DESCRIBE, answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_is_unavailable_when_it_does_not_say_how_it_is_until_any_call_is_answered() {
        let health = Health::new(HealthReporter::new());
        let standing = Standing::new(Role::Chat, health.clone());
        let refuse = |path| drop(standing.observe(path, refused(Code::Unavailable)));
        let told = || health.degraded().borrow().get("chat").cloned();
        for _ in 0..REFUSALS {
            refuse("/a/B");
            pass(LONG / 2).await;
        }
        assert_eq!(told(), Some(Fault::default()), "it may refuse for a reason");
        for _ in 0..REFUSALS {
            assert!(!told().unwrap().is_unreached);
            let (path, answer) = says(refused(Code::DeadlineExceeded));
            standing.observe(path, answer);
        }
        assert!(told().unwrap().is_unreached);
        pass(REMEMBERED * 2).await;
        assert!(told().unwrap().is_unreached, "nobody answered since");
        standing.observe("/a/B", refused(Code::NotFound));
        assert_eq!(told(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_at_the_deadline_was_refused_and_who_does_before_was_not() {
        let health = Health::new(HealthReporter::new());
        let standing = Standing::new(Role::Ratelimit, health.clone());
        let give_up = async |after: u64| {
            for _ in 0..REFUSALS {
                let due = Instant::now() + Duration::from_millis(20);
                let wait = standing.wait("/a/B", due);
                tokio::time::advance(Duration::from_millis(after)).await;
                drop(wait);
                tokio::time::advance(LONG).await;
            }
            health.degraded().borrow().contains("ratelimit")
        };
        assert!(!give_up(10).await);
        assert!(give_up(20).await);
    }

    #[tokio::test(start_paused = true)]
    async fn each_cause_is_remembered_by_itself() {
        let health = Health::new(HealthReporter::new());
        let standing = Standing::new(Role::Chat, health.clone());
        let mark = |names| {
            let mut marked = refused(Code::NotFound);
            marked.headers_mut().insert(DEGRADED, http::HeaderValue::from_static(names));
            standing.observe("/a/B", marked);
        };
        let causes = || {
            let fault = health.degraded().borrow().get("chat").cloned().unwrap_or_default();
            fault.causes.into_iter().collect::<Vec<_>>().join(",")
        };
        mark("database,redis");
        assert_eq!(causes(), "database,redis");
        pass(REMEMBERED / 2).await;
        mark("redis");
        pass(REMEMBERED * 3 / 4).await;
        assert_eq!(causes(), "redis");
        pass(REMEMBERED).await;
        assert!(health.degraded().borrow().is_empty());
    }

    /// A process that is called by one that it calls.
    struct Peer {
        health: Health,
        other: Standing,
        stack: BoxCloneSyncService<Request, Response, Infallible>,
    }

    impl Peer {
        fn new(calls: Role) -> Self {
            let health = Health::new(HealthReporter::new());
            let texts = [Config::DEFAULTS];
            let config = crate::config::Config::load(&texts, None, Default::default()).unwrap();
            let stack = Stack::new(&config.read().unwrap(), CancellationToken::new());
            let not_found = |_: Request| async { Ok(refused(Code::NotFound)) };
            let stack = stack.marked(&health).layer(tower::service_fn(not_found));
            let stack = BoxCloneSyncService::new(stack);
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
        let (one, other) = (Peer::new(Role::Chat), Peer::new(Role::Presence));
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
        let (front, middle) = (Peer::new(Role::Chat), Peer::new(Role::Ratelimit));
        for _ in 0..REFUSALS {
            middle.other.observe("/a/B", refused(Code::Unavailable));
            pass(LONG / 2).await;
        }
        middle.answer(&front).await;
        let told = front.health.degraded();
        assert_eq!(told.borrow().names().collect::<Vec<_>>(), ["ratelimit"], "not chat");
        assert!(front.health.seen().borrow().is_empty());
    }

    /// A memory that ends while it is noted again.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_told_is_what_is_remembered() {
        const TURNS: u32 = 50_000;
        let told = Arc::new((AtomicBool::new(false), AtomicU32::new(0)));
        let says = told.clone();
        let memory = Memory::new(Duration::ZERO, move |names| {
            says.0.store(!names.is_empty(), Relaxed);
            says.1.fetch_add(1, Relaxed);
        });
        let (noting, turns) = (memory.clone(), told.clone());
        let noting = tokio::spawn(async move {
            while turns.1.load(Relaxed) < TURNS {
                noting.note(["chat"]);
                tokio::task::yield_now().await;
            }
        });
        let mut looks = 0;
        while !noting.is_finished() {
            {
                let until = memory.until.lock();
                assert_eq!(!until.is_empty(), told.0.load(Relaxed));
            }
            looks += 1;
            tokio::task::yield_now().await;
        }
        noting.await.unwrap();
        assert!(looks > 0);
    }
}
