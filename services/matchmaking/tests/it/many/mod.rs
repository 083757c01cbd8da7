//! Several processes in one: each instance has its own runtime, connections
//! and bus, and all share one Redis and one database.

mod clocks;
mod crowd;
mod faults;
mod lead;
mod outcomes;
mod owners;
mod rivals;
mod without;

use std::{sync::Arc, time::Duration};

use mingle_matchmaking::{Config, domain::pool::Pools, store::redis::RedisIndex};
use mingle_proto::{
    chat::v1::chat_service_server::ChatServiceServer,
    matchmaking::v1::{PoolStatsRequest, Ticket},
    presence::v1::presence_service_server::PresenceServiceServer,
};
use mingle_runtime::{
    Context, Role,
    config::Section as _,
    grpc::{Routes, Transport},
};
use mingle_store::{
    Backends,
    bus::{Merged, Options as Times, Servers},
    clock::{Clock, SystemClock},
    postgres::{self, Postgres},
    redis::{self, Redis},
};
use mingle_testkit::{Redis as Server, TestDatabase, eventually};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    fakes::{Chat, Presence},
    world::{Client, PATIENCE, POOL, get, request},
};

/// Rows are not read again by chance: what a stream tells was announced. And
/// nobody falls silent, on however slow a machine.
const OVERRIDES: &str = "[matchmaking]\nsweep_ms = 100\nrecheck_ms = 3600000\n\
    [matchmaking.limit]\nquota = 1000000\n\
    [matchmaking.pools.random-chat]\nalive_ms = 3600000";

/// What the instances share.
pub(crate) struct Site {
    pub(crate) redis: Server,
    pub(crate) database: TestDatabase,
    pub(crate) chat: Chat,
    pub(crate) presence: Presence,
}

/// One process.
pub(crate) struct Instance {
    pub(crate) client: Client,
    ctx: Context,
    runtime: Option<Runtime>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let database = mingle_testkit::Postgres::shared().await.database().await;
        let redis = Server::start().await;
        Self { redis, database, chat: Chat::default(), presence: Presence::default() }
    }

    /// Binds another process.
    pub(crate) async fn instance(&self) -> Instance {
        self.instance_with(OVERRIDES).await
    }

    /// The same, configured otherwise.
    pub(crate) async fn instance_with(&self, overrides: &str) -> Instance {
        self.instance_by(overrides, Arc::new(SystemClock)).await
    }

    /// The same, on a machine whose clock differs.
    pub(crate) async fn instance_by(&self, overrides: &str, clock: Arc<dyn Clock>) -> Instance {
        self.instance_over(&self.redis.url(), overrides, clock).await
    }

    /// The same, with its own way to Redis.
    pub(crate) async fn instance_over(
        &self,
        redis: &str,
        overrides: &str,
        clock: Arc<dyn Clock>,
    ) -> Instance {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = threads.unwrap();
        let ctx = Context::for_test(&[Config::DEFAULTS], overrides);
        let chat = Routes::new(ChatServiceServer::new(self.chat.clone()));
        ctx.peers.set(Role::Chat, Transport::local(chat));
        let presence = Routes::new(PresenceServiceServer::new(self.presence.clone()));
        ctx.peers.set(Role::Presence, Transport::local(presence));
        let (url, options) = (self.database.url.clone(), redis::Options::new(redis));
        let own = ctx.clone();
        let bound = runtime.spawn(async move {
            let stop = CancellationToken::new();
            let redis = Redis::start(options, stop).await.unwrap();
            let database = postgres(&url).await;
            let servers = Servers::Both(redis.clone(), database.clone());
            let bus = Arc::new(Merged::start(servers, Times::default()));
            let backends = Backends { database: database.into(), redis: Some(redis), bus, clock };
            mingle_matchmaking::bind(own, backends).await.unwrap()
        });
        let routes = bound.await.unwrap().into_routes().unwrap();
        Instance { client: Client::new(Transport::local(routes)), ctx, runtime: Some(runtime) }
    }

    /// A way to the same index beside the instances.
    pub(crate) async fn index(&self) -> RedisIndex {
        let options = redis::Options {
            timeout: Duration::from_secs(10),
            ..redis::Options::new(self.redis.url())
        };
        let redis = crate::redis::connect_with(options).await;
        RedisIndex::new(redis, &pools(), Arc::new(SystemClock))
    }

    /// What psql prints.
    pub(crate) async fn sql(&self, statement: &str) -> String {
        let name = self.database.url.rsplit('/').next().unwrap().to_owned();
        mingle_testkit::Postgres::shared().await.sql(&name, statement)
    }

    pub(crate) async fn count(&self, statement: &str) -> usize {
        self.sql(statement).await.parse().unwrap()
    }
}

pub(crate) fn pools() -> Pools {
    Context::for_test(&[Config::DEFAULTS], OVERRIDES).config.read::<Config>().unwrap().pools()
}

pub(crate) async fn postgres(url: &str) -> Postgres {
    // The machine's disk may be slow.
    let (answer, silence) = (PATIENCE, PATIENCE);
    let options =
        postgres::Options { max_connections: 6, answer, silence, ..postgres::Options::new(url) };
    Postgres::connect(options).await.unwrap()
}

impl Instance {
    /// As SIGKILL: nothing of it runs on, and nobody is told.
    pub(crate) fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// As SIGTERM, with the drain.
    pub(crate) async fn end(self) {
        self.ctx.stop.cancel();
        self.ctx.tasks.close();
        tokio::time::timeout(PATIENCE, self.ctx.tasks.wait()).await.unwrap();
        self.kill();
    }

    pub(crate) async fn join(&self, user: &str, gender: &str, wants: &[&str]) -> Ticket {
        let reply = self.client.clone().create_ticket(request(user, gender, wants)).await.unwrap();
        reply.into_inner().ticket.unwrap()
    }

    pub(crate) async fn waiting(&self) -> Result<u64, Status> {
        let request = PoolStatsRequest { pool: POOL.to_owned() };
        Ok(self.client.clone().pool_stats(request).await?.into_inner().waiting)
    }

    /// Waits until the index knows so many.
    pub(crate) async fn until_waiting(&self, count: u64) {
        eventually(PATIENCE, "the index to know who waits", async || {
            self.waiting().await.is_ok_and(|waiting| waiting == count)
        })
        .await;
    }

    pub(crate) async fn matched(&self, ticket: &Ticket) -> Ticket {
        eventually(PATIENCE, "a match with its room", async || {
            let now = get(&self.client, &ticket.user_id, &ticket.ticket_id, 0).await.unwrap();
            (!now.room_id.is_empty()).then_some(now)
        })
        .await
    }

    pub(crate) fn degraded(&self, what: &str) -> bool {
        self.ctx.health.degraded().borrow().contains(what)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
