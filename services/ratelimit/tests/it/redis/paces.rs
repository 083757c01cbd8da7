//! What is taken ahead of time of a pace, and given back, to the microsecond.

use std::{sync::Arc, time::Duration};

use mingle_ratelimit::{
    domain::{Algorithm, Ask, Charged, Limit, Limits, Outage},
    store::{
        Store as _,
        redis::{RedisStore, Wanted},
    },
};
use mingle_store::clock::ManualClock;
use mingle_testkit::Redis as Server;

use crate::world::{START, connect};

const REMEMBER_US: u64 = 900_000_000;

struct Stage {
    store: RedisStore,
    clock: Arc<ManualClock>,
    limit: Arc<Limit>,
    _server: Server,
}

impl Stage {
    /// Ten in ten minutes, one each minute, or all at once.
    async fn start() -> Self {
        let (server, clock) = (Server::start().await, Arc::new(ManualClock::at(START)));
        let redis = connect(&server).await.with_clock(clock.clone());
        let limit = Limit {
            name: "pace".into(),
            algorithm: Algorithm::Gcra,
            quota: 10,
            window_us: 600_000_000,
            burst: 10,
            outage: Outage::Local,
            shadow: false,
            parts: 1,
        };
        let store = RedisStore::new(redis, REMEMBER_US);
        Self { store, clock, limit: Arc::new(limit), _server: server }
    }

    fn ask(&self, cost: u64, charge_id: &str) -> Ask {
        Ask {
            subject: "ann".into(),
            charge_id: charge_id.into(),
            is_new: true,
            cost,
            limits: vec![self.limit.clone()],
        }
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(seconds * 1_000);
    }

    async fn left(&self) -> u64 {
        self.store.peek(&self.ask(0, "")).await.unwrap().standings[0].remaining
    }
}

/// The last of it is given back, and not what is over by now: of eight minutes that begin
/// half a minute from now the last four, 200 s later.
#[tokio::test]
async fn what_was_not_used_is_the_last_of_it() {
    let stage = Stage::start().await;
    let ask = stage.ask(1, "");
    let wanted = Wanted { more: 7, parts: 1, life: Duration::from_secs(30) };
    let taken = stage.store.take_ahead(&ask, wanted).await.unwrap().1.unwrap();
    assert_eq!(taken.more, 7);
    stage.pass(200);
    assert_eq!(stage.left().await, 4);
    assert_eq!(stage.store.give_back_unused(&ask, &taken, 4).await.unwrap(), [true]);
    assert_eq!(stage.left().await, 8);
}

/// A charge that was over before what was taken ahead began gives nothing back: what was
/// taken would begin before its time.
#[tokio::test]
async fn what_is_given_back_moves_nothing_that_was_taken_ahead() {
    let stage = Stage::start().await;
    assert!(stage.store.check(&[stage.ask(1, "plain")]).await.remove(0).is_ok());
    let wanted = Wanted { more: 3, parts: 1, life: Duration::from_secs(100) };
    let taken = stage.store.take_ahead(&stage.ask(1, ""), wanted).await.unwrap().1.unwrap();
    assert_eq!(taken.more, 3);
    stage.pass(10);
    assert_eq!(stage.left().await, 4);
    let charge = Charged { subject: "ann", charge_id: "plain", unless_repeated: false };
    let limits: Limits =
        [(stage.limit.name.to_string(), stage.limit.clone())].into_iter().collect();
    assert!(!stage.store.refund(charge, &Arc::new(limits)).await.unwrap());
    assert_eq!(stage.left().await, 4);
}
