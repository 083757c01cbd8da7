//! The moment in which a room begins to be followed: what is committed around
//! it is before the head that is told, or follows it.

use std::sync::Arc;

use async_trait::async_trait;
use mingle_chat::{
    Config,
    domain::{Kind, Wish},
    store::{Options, Store},
};
use mingle_runtime::{Context, config::Section as _};
use mingle_store::{
    Result,
    bus::{Announcement, Bus, Memory, Subscription},
};

use crate::{
    between::{self, Interruption, UNAIDED},
    conformance::new_room,
    reader::Reader,
    stage::{Nobody, Stage},
};

/// A bus to which something happens before it listens.
#[derive(Default)]
struct Tardy {
    memory: Memory,
    interruption: Interruption,
}

#[async_trait]
impl Bus for Tardy {
    async fn publish(&self, batch: &[Announcement]) -> Result<()> {
        self.memory.publish(batch).await
    }

    async fn subscribe(&self, topic: &str) -> Result<Subscription> {
        self.interruption.happen().await;
        self.memory.subscribe(topic).await
    }
}

async fn pair(store: &dyn Store) -> String {
    let room_id = uuid::Uuid::now_v7().to_string();
    let intent = mingle_chat::domain::Intent::Create(new_room(Kind::Pair, &["ann", "bob"], None));
    let wish = Wish { room_id: room_id.clone(), intent, trace_id: String::new() };
    store.write(wish, String::new()).await.unwrap().unwrap();
    room_id
}

const OPTIONS: Options = Options { append_batch: 8, max_members: 10 };

#[tokio::test]
async fn what_is_said_before_the_bus_listens_is_before_the_head() {
    let stage = Stage::new().await;
    let bus = Arc::new(Tardy::default());
    let silent = stage.store_with(stage.clock.clone(), Arc::new(Nobody), OPTIONS).await;
    let never = "[chat]\nheads_ms = 600000";
    let client = stage.serve_on(bus.clone(), stage.clock.clone(), never).await.client;
    let room = pair(&*silent).await;
    bus.interruption.plan(&silent, &room);
    let mut reader = Reader::open(client, "bob").await;
    assert_eq!(reader.opened(&room).await.seq, 3, "the head is read after the bus listens");
    assert!(bus.interruption.happened());
}

#[tokio::test]
async fn what_is_said_while_the_head_is_read_follows_it() {
    let stage = Stage::new().await;
    let ctx = Context::for_test(&[Config::DEFAULTS], "");
    let (stale, client) = between::serve(&stage, &ctx, UNAIDED).await;
    let store = stale.store.clone();
    let room = pair(&*store).await;
    stale.interruption.plan(&store, &room);
    let mut reader = Reader::open(client, "bob").await;
    assert_eq!(reader.opened(&room).await.seq, 2, "the head of before");
    assert!(stale.interruption.happened());
    let told = reader.next().await.event;
    let events = match told {
        Some(mingle_proto::chat::v1::subscribe_response::Event::Events(events)) => events.events,
        other => panic!("{other:?}"),
    };
    assert_eq!((events.len(), events[0].seq), (1, 3));
}
