use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mingle_store::{
    Error, ErrorKind, Result,
    breaker::Policy,
    failover::{Failover, Probe, Served},
};
use tokio_util::sync::CancellationToken;

const WELL: u8 = 0;
const AWAY: u8 = 1;
const REFUSING: u8 = 2;

/// A store that can be told to fail.
#[derive(Default)]
struct Faulty {
    name: &'static str,
    mode: AtomicU8,
    calls: AtomicU32,
    probes: AtomicU32,
}

impl Faulty {
    fn named(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, ..Self::default() })
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    async fn ask(&self) -> Result<&'static str> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.mode.load(Ordering::SeqCst) {
            AWAY => Err(Error::new(ErrorKind::Unavailable, "away")),
            REFUSING => Err(Error::new(ErrorKind::Conflict, "refused")),
            _ => Ok(self.name),
        }
    }
}

#[async_trait]
impl Probe for Faulty {
    async fn probe(&self) -> Result<()> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        match self.mode.load(Ordering::SeqCst) {
            AWAY => Err(Error::new(ErrorKind::Unavailable, "away")),
            _ => Ok(()),
        }
    }
}

/// Lets paused time pass in steps, each of which background tasks see.
async fn pass(time: Duration) {
    for _ in 0..50 {
        tokio::time::advance(time / 50).await;
        tokio::task::yield_now().await;
    }
}

struct Fixture {
    primary: Arc<Faulty>,
    secondary: Arc<Faulty>,
    failover: Failover<Faulty>,
}

impl Fixture {
    fn new() -> Self {
        let (primary, secondary) = (Faulty::named("primary"), Faulty::named("secondary"));
        let failover = Failover::start(
            "test",
            primary.clone(),
            secondary.clone(),
            Policy::default(),
            CancellationToken::new(),
        );
        Self { primary, secondary, failover }
    }

    async fn ask(&self) -> Result<Served<&'static str>> {
        self.failover.call(|store| async move { store.ask().await }).await
    }
}

#[tokio::test(start_paused = true)]
async fn each_failing_call_is_served_and_the_breaker_spares_the_primary() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ask().await.unwrap(), Served { value: "primary", degraded: false });
    fixture.primary.set(AWAY);
    for _ in 0..100 {
        assert_eq!(fixture.ask().await.unwrap(), Served { value: "secondary", degraded: true });
    }
    assert!(fixture.failover.breaker().is_open());
    assert_eq!(fixture.secondary.calls.load(Ordering::SeqCst), 100);
    let asked = fixture.primary.calls.load(Ordering::SeqCst);
    assert!((21..100).contains(&asked), "the primary was asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn recovers_by_a_probe_and_not_by_a_users_request() {
    let fixture = Fixture::new();
    fixture.primary.set(AWAY);
    fixture.failover.breaker().open();
    pass(Duration::from_secs(5)).await;
    assert!(fixture.failover.breaker().is_open());
    assert!(fixture.primary.probes.load(Ordering::SeqCst) >= 3);
    assert_eq!(fixture.primary.calls.load(Ordering::SeqCst), 0);
    fixture.primary.set(WELL);
    pass(Duration::from_secs(2)).await;
    assert_eq!(fixture.ask().await.unwrap(), Served { value: "primary", degraded: false });
}

#[tokio::test(start_paused = true)]
async fn two_lost_heartbeats_open_and_one_does_not() {
    let fixture = Fixture::new();
    let mut changes = fixture.failover.breaker().changes();
    pass(Duration::from_millis(500)).await;
    fixture.primary.set(AWAY);
    pass(Duration::from_secs(1)).await;
    assert!(!*changes.borrow_and_update(), "one may be late");
    fixture.primary.set(WELL);
    pass(Duration::from_secs(1)).await;
    fixture.primary.set(AWAY);
    pass(Duration::from_secs(1)).await;
    assert!(!changes.has_changed().unwrap(), "not in a row");
    pass(Duration::from_secs(1)).await;
    assert!(*changes.borrow_and_update() && fixture.failover.breaker().is_open());
    assert_eq!(fixture.primary.calls.load(Ordering::SeqCst), 0, "no call was needed");
    fixture.primary.set(WELL);
    pass(Duration::from_secs(1)).await;
    assert!(!*changes.borrow_and_update());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer() {
    let fixture = Fixture::new();
    fixture.primary.set(REFUSING);
    for _ in 0..100 {
        assert_eq!(fixture.ask().await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert!(!fixture.failover.breaker().is_open());
    assert_eq!(fixture.secondary.calls.load(Ordering::SeqCst), 0);
}
