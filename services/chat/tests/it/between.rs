//! A store with something between it and those who ask.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use mingle_chat::{
    Config,
    domain::{Bookmark, Membership, Position, Verdict, View, Wish},
    fanout::{Board, Bounds, Hub, Settings},
    service::{Chat, Pages, charges},
    store::{Options, Page, Replay, Store},
};
use mingle_proto::chat::v1::{
    chat_service_client::ChatServiceClient, chat_service_server::ChatServiceServer,
};
use mingle_runtime::{
    Context,
    grpc::{Routes, Transport},
};
use mingle_store::{Error, ErrorKind, Result};

use crate::{
    conformance::message,
    stage::{Client, Stage},
};

const NEVER: Duration = Duration::from_secs(600);
/// Nothing is held or compared in time to help.
pub(crate) const UNAIDED: Settings = Settings {
    hold: NEVER,
    heads: NEVER,
    queue: Bounds { messages: 10_000, bytes: 10_000_000 },
    rooms: 10_000,
};

/// Says one thing in a room, once: in the middle of something else.
#[derive(Default)]
pub(crate) struct Interruption(Mutex<Option<(Arc<dyn Store>, String)>>);

impl Interruption {
    pub(crate) fn plan(&self, store: &Arc<dyn Store>, room_id: &str) {
        *self.0.lock().unwrap() = Some((store.clone(), room_id.to_owned()));
    }

    pub(crate) async fn happen(&self) {
        let planned = self.0.lock().unwrap().take();
        if let Some((store, room_id)) = planned {
            let intent = message("ann", "meanwhile", "meanwhile");
            let wish = Wish { room_id, intent, trace_id: String::new() };
            store.write(wish, String::new()).await.unwrap().unwrap();
        }
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

/// Counts what reads of the log cost, and fails as it is told.
pub(crate) struct Between {
    pub(crate) store: Arc<dyn Store>,
    /// Happens between the reading of heads and their arrival.
    pub(crate) interruption: Interruption,
    /// Heads cannot be read.
    pub(crate) headless: AtomicBool,
    /// The head of this room cannot be read, ever.
    pub(crate) damaged: Mutex<Option<String>>,
    /// What is written is, and whoever asked is not told.
    pub(crate) forgetful: AtomicBool,
    /// Reads so far, and how many rooms' heads were read by them.
    pub(crate) heads: AtomicUsize,
    pub(crate) compared: AtomicUsize,
    pub(crate) ranges: AtomicUsize,
    pub(crate) replays: AtomicUsize,
    /// Ranges that are read now, and the most of them at once.
    reading: AtomicUsize,
    pub(crate) crowd: AtomicUsize,
}

impl Between {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            interruption: Interruption::default(),
            headless: AtomicBool::new(false),
            damaged: Mutex::new(None),
            forgetful: AtomicBool::new(false),
            heads: AtomicUsize::new(0),
            compared: AtomicUsize::new(0),
            ranges: AtomicUsize::new(0),
            replays: AtomicUsize::new(0),
            reading: AtomicUsize::new(0),
            crowd: AtomicUsize::new(0),
        }
    }
}

/// One process's chat over such a store, whose bus is the stage's.
pub(crate) async fn serve(
    stage: &Stage,
    ctx: &Context,
    settings: Settings,
) -> (Arc<Between>, Client) {
    let terms = ctx.config.read::<Config>().unwrap().limit;
    let charges = charges(ctx, terms, stage.bus.clone());
    let board = Board::start(stage.bus.clone(), stage.clock.clone(), &ctx.tasks);
    let options = Options { append_batch: 8, max_members: 10 };
    let store = stage.store_with(stage.clock.clone(), Arc::new(board.clone()), options).await;
    let between = Arc::new(Between::new(store));
    let hub = Hub::start(board, between.clone(), settings, ctx.tasks.clone(), ctx.stop.clone());
    let pages = Pages::new(Transport::absent("cache"));
    let chat = Chat::new(between.clone(), hub, charges, pages);
    let routes = Routes::new(ChatServiceServer::new(chat));
    (between, ChatServiceClient::new(Transport::local(routes)))
}

#[async_trait]
impl Store for Between {
    async fn heads(&self, room_ids: &[String]) -> Result<HashMap<String, Position>> {
        self.heads.fetch_add(1, SeqCst);
        if self.headless.load(SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "no heads").undone());
        }
        if self.damaged.lock().unwrap().as_ref().is_some_and(|room| room_ids.contains(room)) {
            return Err(Error::new(ErrorKind::Corrupt, "a damaged head"));
        }
        let heads = self.store.heads(room_ids).await?;
        self.interruption.happen().await;
        self.compared.fetch_add(room_ids.len(), SeqCst);
        Ok(heads)
    }
    async fn write(&self, wish: Wish, traceparent: String) -> Result<Verdict> {
        let verdict = self.store.write(wish, traceparent).await;
        if self.forgetful.load(SeqCst) {
            return Err(Error::new(ErrorKind::Timeout, "a lost answer"));
        }
        verdict
    }
    async fn range(&self, room_id: &str, after: u64, limit: usize) -> Result<Page> {
        self.ranges.fetch_add(1, SeqCst);
        self.crowd.fetch_max(self.reading.fetch_add(1, SeqCst) + 1, SeqCst);
        let page = self.store.range(room_id, after, limit).await;
        self.reading.fetch_sub(1, SeqCst);
        page
    }
    async fn replay(&self, room: &str, after: &Position, limit: usize) -> Result<Option<Replay>> {
        self.replays.fetch_add(1, SeqCst);
        self.store.replay(room, after, limit).await
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
