//! A chat with a clock and a folder of its own.

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use mingle_chat::{
    Config, bind,
    domain::Event,
    store::{Announce, Options, SqlStore, Store},
};
use mingle_proto::chat::v1::chat_service_client::ChatServiceClient;
use mingle_runtime::{
    Context,
    config::{Mode, Section as _},
    grpc::Transport,
    status::Described,
    telemetry,
};
use mingle_store::{
    Backends, Database,
    bus::{Bus, Memory},
    clock::{Clock, ManualClock},
    postgres::{self, Postgres},
    sqlite::{FILE, Sqlite},
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tonic::Status;

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000;

pub(crate) type Client = ChatServiceClient<Transport>;

/// Hears of every append and tells nobody.
pub(crate) struct Nobody;

impl Announce for Nobody {
    fn announce(&self, _: &[Event], _: &str) {}
}

pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) database: Sqlite,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) bus: Arc<dyn Bus>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Sqlite::open(folder.path()).await.unwrap();
        let clock = Arc::new(ManualClock::at(NEW_YEAR));
        Self { folder, database, clock, bus: Arc::new(Memory::new()) }
    }

    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        open(self.database.clone().into(), self.clock.clone(), Arc::new(Nobody)).await
    }

    pub(crate) async fn store_with(
        &self,
        clock: Arc<dyn Clock>,
        announce: Arc<dyn Announce>,
        options: Options,
    ) -> Arc<dyn Store> {
        let database = self.database.clone().into();
        Arc::new(SqlStore::open(database, clock, announce, options).await.unwrap())
    }

    /// One process's chat, reached as its callers reach it.
    pub(crate) async fn serve(&self, overrides: &str) -> Process {
        self.serve_on(self.bus.clone(), self.clock.clone(), overrides).await
    }

    pub(crate) async fn serve_on(
        &self,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        overrides: &str,
    ) -> Process {
        let overrides = format!("{overrides}\n[chat.limit]\nquota = 1000000\n");
        let ctx = Context::for_test(&[Config::DEFAULTS], &overrides);
        self.serve_in(ctx, bus, clock).await
    }

    /// The same with just this configuration and these peers.
    pub(crate) async fn serve_in(
        &self,
        ctx: Context,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
    ) -> Process {
        let database = self.database.clone().into();
        Self::bound(Backends { database, redis: None, bus, clock }, ctx).await
    }

    /// The same over another database.
    pub(crate) async fn serve_from(&self, database: Database, ctx: Context) -> Process {
        let (bus, clock) = (self.bus.clone(), self.clock.clone());
        Self::bound(Backends { database, redis: None, bus, clock }, ctx).await
    }

    async fn bound(backends: Backends, ctx: Context) -> Process {
        let bound = bind(ctx.clone(), backends).await.unwrap();
        let client = ChatServiceClient::new(Transport::local(bound.into_routes().unwrap()));
        Process { client, ctx }
    }

    /// Asks the file itself, past the code under test.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join(FILE));
        let mut connection = options.read_only(true).connect().await.unwrap();
        let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }
}

/// A store whose rooms hold at most 5 members.
pub(crate) async fn open(
    database: Database,
    clock: Arc<dyn Clock>,
    announce: Arc<dyn Announce>,
) -> Arc<dyn Store> {
    let options = Options { append_batch: 256, max_members: 5 };
    Arc::new(SqlStore::open(database, clock, announce, options).await.unwrap())
}

/// What a server may take where nothing is wrong: the machine's disk may be slow.
const SLOW: Duration = Duration::from_secs(60);

/// A fresh database of this process's server.
pub(crate) async fn postgres() -> Database {
    let fresh = mingle_testkit::Postgres::shared().await.database().await;
    over(&fresh.url, 6).await
}

/// The database at this URL, in so many sessions at most.
pub(crate) async fn over(url: &str, max_connections: u32) -> Database {
    let options = postgres::Options {
        max_connections,
        answer: SLOW,
        silence: SLOW,
        ..postgres::Options::new(url)
    };
    Postgres::connect(options).await.unwrap().into()
}

/// From here on requests have traces, in all tests of the process.
pub(crate) fn traced() {
    // Who comes second waits until it is so.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| telemetry::init(Mode::Development, "off,mingle_runtime::grpc=info"));
}

pub(crate) struct Process {
    pub(crate) client: Client,
    pub(crate) ctx: Context,
}

/// Code, reason and field of a failure, as callers match on them.
#[track_caller]
pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, String, String) {
    let described = Described::from(&result.expect_err("a failure"));
    (described.kind.name().to_owned(), described.reason, described.field)
}
