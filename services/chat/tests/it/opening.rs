//! The moment in which a room begins to be followed: what is committed around
//! it is before the head that is told, or follows it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use mingle_chat::{
    Config,
    domain::{Bookmark, Kind, Membership, Position, Verdict, View, Wish},
    fanout::{Board, Bounds, Hub, Settings},
    service::{Chat, charges},
    store::{Nobody, Options, Page, Replay, Store},
};
use mingle_proto::chat::v1::{
    chat_service_client::ChatServiceClient, chat_service_server::ChatServiceServer,
};
use mingle_runtime::{Context, config::Section as _, grpc::Transport};
use mingle_store::{
    Result,
    bus::{Announcement, Bus, Memory, Subscription},
};
use tonic::service::Routes;

use crate::{
    conformance::{message, new_room},
    reader::Reader,
    stage::Stage,
};

const NEVER: Duration = Duration::from_secs(600);

/// Says one thing in a room, once: in the middle of something else.
#[derive(Default)]
struct Interruption(Mutex<Option<(Arc<dyn Store>, String)>>);

impl Interruption {
    fn plan(&self, store: &Arc<dyn Store>, room_id: &str) {
        *self.0.lock().unwrap() = Some((store.clone(), room_id.to_owned()));
    }

    async fn happen(&self) {
        let planned = self.0.lock().unwrap().take();
        if let Some((store, room_id)) = planned {
            let intent = message("ann", "meanwhile", "meanwhile");
            let wish = Wish { room_id, intent, trace_id: String::new() };
            store.write(wish, String::new()).await.unwrap().unwrap();
        }
    }

    fn happened(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

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

/// A store to which something happens between the reading of heads and their
/// arrival.
struct Stale {
    store: Arc<dyn Store>,
    interruption: Interruption,
}

#[async_trait]
impl Store for Stale {
    async fn heads(&self, room_ids: &[String]) -> Result<HashMap<String, Position>> {
        let heads = self.store.heads(room_ids).await?;
        self.interruption.happen().await;
        Ok(heads)
    }
    async fn write(&self, wish: Wish, traceparent: String) -> Result<Verdict> {
        self.store.write(wish, traceparent).await
    }
    async fn is_said(&self, room_id: &str, sender: &str, key: &str) -> Result<bool> {
        self.store.is_said(room_id, sender, key).await
    }
    async fn view(&self, room_id: &str, user: &str) -> Result<Option<View>> {
        self.store.view(room_id, user).await
    }
    async fn list(&self, user: &str, mark: Option<&Bookmark>, limit: usize) -> Result<Vec<View>> {
        self.store.list(user, mark, limit).await
    }
    async fn members(&self, room_id: &str) -> Result<Vec<Membership>> {
        self.store.members(room_id).await
    }
    async fn history(&self, room_id: &str, before: u64, limit: usize) -> Result<Page> {
        self.store.history(room_id, before, limit).await
    }
    async fn replay(&self, room: &str, after: &Position, limit: usize) -> Result<Option<Replay>> {
        self.store.replay(room, after, limit).await
    }
    async fn range(&self, room_id: &str, after: u64, limit: usize) -> Result<Page> {
        self.store.range(room_id, after, limit).await
    }
    async fn shared(&self, user: &str, others: &[String]) -> Result<Vec<String>> {
        self.store.shared(user, others).await
    }
    async fn idle(&self, since: i64, limit: usize) -> Result<Vec<String>> {
        self.store.idle(since, limit).await
    }
    async fn expire(&self, before: i64, limit: usize) -> Result<u64> {
        self.store.expire(before, limit).await
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
    let terms = ctx.config.read::<Config>().unwrap().limit;
    let charges = charges(&ctx, terms, stage.bus.clone());
    let board = Board::start(stage.bus.clone(), stage.clock.clone(), &ctx.tasks);
    let store = stage.store_with(stage.clock.clone(), Arc::new(board.clone()), OPTIONS).await;
    let stale = Arc::new(Stale { store: store.clone(), interruption: Interruption::default() });
    let queue = Bounds { messages: 100, bytes: 100_000 };
    let settings = Settings { hold: NEVER, heads: NEVER, queue, rooms: 10 };
    let hub = Hub::start(board, stale.clone(), settings, ctx.tasks.clone(), ctx.stop.clone());
    let routes = Routes::new(ChatServiceServer::new(Chat::new(stale.clone(), hub, charges)));
    let client = ChatServiceClient::new(Transport::local(routes));
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
