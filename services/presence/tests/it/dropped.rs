//! Callers who go away half way.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mingle_proto::presence::v1::{
    RegisterNodeRequest, RegisterSessionsRequest, Session, SetStatusRequest, Status,
};
use mingle_store::{
    Backends, Result,
    bus::{Announcement, Bus, Memory, Subscription},
    clock::ManualClock,
    sqlite::Sqlite,
};
use mingle_testkit::eventually;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::harness::{
    wire::{connect, node, serve},
    world::START,
};

const SOON: Duration = Duration::from_secs(20);

/// A bus that is slow: what is told waits for a permit.
struct Slow {
    came: Semaphore,
    go: Semaphore,
    told: Mutex<usize>,
}

#[async_trait]
impl Bus for Slow {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        self.came.add_permits(1);
        self.go.acquire().await.expect("open").forget();
        *self.told.lock() += batch.len();
        Ok(())
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        Memory::new().subscribe(topic).await
    }
}

/// What a call has settled is announced whether its caller waits or not: the
/// next call finds nothing to announce.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dropped_call_settled_is_announced() {
    let (came, go) = (Semaphore::new(0), Semaphore::new(0));
    let bus = Arc::new(Slow { came, go, told: Mutex::new(0) });
    let folder = tempfile::tempdir().unwrap();
    let backends = Backends {
        database: Sqlite::open(folder.path()).await.unwrap().into(),
        redis: None,
        bus: bus.clone(),
        clock: Arc::new(ManualClock::at(START)),
    };
    let (mut client, context) = serve("", backends).await;
    client.register_node(RegisterNodeRequest { node: Some(node("a")) }).await.unwrap();
    let (ann, session_id) = ("ann".to_owned(), "s".to_owned());
    let away = Status::Away.into();
    let shows = SetStatusRequest { session_id, user_id: ann, status: away };
    let session = Session {
        session_id: "s".to_owned(),
        user_id: "bob".to_owned(),
        generation: 1,
        connection_id: "x".to_owned(),
        status: Status::Online.into(),
    };
    let all = RegisterSessionsRequest { node_id: "a".to_owned(), sessions: vec![session] };
    let (mut one, mut two, mut three) = (client.clone(), client.clone(), client);
    let calls = [
        tokio::spawn(async move { one.connect(connect("a", "ann", "s", 1)).await.map(drop) }),
        tokio::spawn(async move { three.register_sessions(all).await.map(drop) }),
    ];
    let dropped = async |call: tokio::task::JoinHandle<_>, count: u32| {
        tokio::time::timeout(SOON, bus.came.acquire_many(count)).await.unwrap().unwrap().forget();
        call.abort();
        assert!(call.await.is_err_and(|error| error.is_cancelled()), "it waits for the bus");
    };
    for (call, count) in calls.into_iter().zip([2, 0]) {
        dropped(call, count).await;
    }
    let call = tokio::spawn(async move { two.set_status(shows).await.map(drop) });
    dropped(call, 1).await;
    bus.go.add_permits(3);
    eventually(SOON, "all three", async || *bus.told.lock() == 3).await;
    context.stop.cancel();
}
