//! Servers, and buses on them.

use std::{sync::Arc, time::Duration};

use mingle_store::{
    bus::{Bus, Merged, Options, Servers},
    postgres::{self, Postgres},
    redis::{self, Redis},
};
use mingle_testkit::{Proxy, eventually};
use tokio_util::sync::CancellationToken;

use super::reader::{News, PATIENCE, Reader};

/// Times short enough to wait for, and long enough for a busy machine.
pub(crate) const QUICK: Options = Options {
    beat: Duration::from_millis(200),
    lost_after: Duration::from_millis(1_000),
    subscribe: Duration::from_millis(500),
    kinds: 0,
};

/// A Redis of the test's own, and a database.
pub(crate) struct Stage {
    pub(crate) redis: mingle_testkit::Redis,
    postgres: Postgreses,
    database: mingle_testkit::TestDatabase,
}

enum Postgreses {
    Shared(&'static mingle_testkit::Postgres),
    Own(mingle_testkit::Postgres),
}

impl Stage {
    /// With a database on the server that tests share.
    pub(crate) async fn open() -> Self {
        Self::on(Postgreses::Shared(mingle_testkit::Postgres::shared().await)).await
    }

    /// With a PostgreSQL server that the test may freeze.
    pub(crate) async fn with_own_postgres() -> Self {
        Self::on(Postgreses::Own(mingle_testkit::Postgres::start().await)).await
    }

    async fn on(postgres: Postgreses) -> Self {
        let redis = mingle_testkit::Redis::start().await;
        let database = match &postgres {
            Postgreses::Shared(server) => server.database().await,
            Postgreses::Own(server) => server.database().await,
        };
        Self { redis, postgres, database }
    }

    /// # Panics
    /// When the server is not the test's own.
    pub(crate) fn own_postgres(&self) -> &mingle_testkit::Postgres {
        match &self.postgres {
            Postgreses::Shared(_) => panic!("others use it"),
            Postgreses::Own(server) => server,
        }
    }

    pub(crate) async fn on_redis(&self) -> Servers {
        Servers::Redis(redis_client(&self.redis, Duration::from_millis(250)).await)
    }

    pub(crate) async fn on_postgres(&self) -> Servers {
        Servers::Postgres(postgres_client(&self.database.url).await)
    }

    /// PostgreSQL by a way on which things go wrong.
    pub(crate) async fn on_postgres_by_proxy(&self) -> (Servers, Proxy) {
        let (_, place) = self.database.url.split_once('@').unwrap();
        let (server, _) = place.split_once('/').unwrap();
        let proxy = Proxy::to(server.parse().unwrap()).await;
        let url = self.database.url.replace(server, &proxy.address().to_string());
        (Servers::Postgres(postgres_client(&url).await), proxy)
    }

    pub(crate) async fn on_both(&self) -> Servers {
        let redis = redis_client(&self.redis, Duration::from_millis(250)).await;
        Servers::Both(redis, postgres_client(&self.database.url).await)
    }

    /// By another way to Redis, and as another role of PostgreSQL.
    pub(crate) async fn on_both_by(&self, url: &str, role: &str) -> Servers {
        let redis = Redis::start(redis::Options::new(url), CancellationToken::new()).await;
        let url = self.database.url.replace("postgres@", &format!("{role}@"));
        Servers::Both(redis.unwrap(), postgres_client(&url).await)
    }

    /// A bus that may be without Redis.
    pub(crate) async fn bus_on_both(&self) -> Arc<Merged> {
        self.bus_with_redis(&self.redis.url()).await
    }

    /// The same on another way to Redis.
    pub(crate) async fn bus_with_redis(&self, url: &str) -> Arc<Merged> {
        let options = redis::Options::new(url);
        let redis = Redis::start(options, CancellationToken::new()).await.unwrap();
        let postgres = postgres_client(&self.database.url).await;
        Arc::new(Merged::start(Servers::Both(redis, postgres), QUICK))
    }

    /// The connections that listen on PostgreSQL.
    pub(crate) fn count_listeners(&self) -> u32 {
        self.listeners("count(*)")
    }

    /// Ends them; the number of them.
    pub(crate) fn terminate_listeners(&self) -> u32 {
        self.listeners("count(pg_terminate_backend(pid))")
    }

    fn listeners(&self, what: &str) -> u32 {
        let server = match &self.postgres {
            Postgreses::Shared(server) => server,
            Postgreses::Own(server) => server,
        };
        let (_, database) = self.database.url.rsplit_once('/').unwrap();
        let rows = "pg_stat_activity where query ilike 'listen%' and datname = current_database()";
        server.sql(database, &format!("select {what} from {rows}")).parse().unwrap()
    }

    /// Ends the listening connections on Redis; the number of them.
    pub(crate) fn kill_subscriptions(&self) -> u32 {
        self.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).parse().unwrap()
    }

    pub(crate) fn database(&self) -> &str {
        &self.database.url
    }
}

pub(crate) async fn redis_client(server: &mingle_testkit::Redis, timeout: Duration) -> Redis {
    let options = redis::Options { timeout, ..redis::Options::new(server.url()) };
    Redis::start(options, CancellationToken::new()).await.unwrap()
}

pub(crate) async fn postgres_client(url: &str) -> Postgres {
    Postgres::connect(postgres::Options::new(url)).await.unwrap()
}

/// A bus that listens to everything it has, all gaps of its start behind it.
pub(crate) async fn start(servers: Servers, options: Options) -> Arc<Merged> {
    let told_later = matches!(servers, Servers::Postgres(_));
    if let Servers::Redis(redis) | Servers::Both(redis, _) = &servers {
        eventually(PATIENCE, "redis to take commands", async || redis.is_connected()).await;
    }
    let merged = Arc::new(Merged::start(servers, options));
    heard(&merged).await;
    if told_later {
        // On a machine that stood still it is past already.
        let bus: Arc<dyn Bus> = merged.clone();
        let mut probe = Reader::of(&bus, "probe").await;
        let told = tokio::time::timeout(options.lost_after, probe.next()).await;
        assert_eq!(told.unwrap_or(News::Gap), News::Gap);
    }
    merged
}

/// Waits until every source is heard.
pub(crate) async fn heard(bus: &Merged) {
    eventually(PATIENCE, "every source to be heard", async || {
        let sources = bus.sources();
        sources.redis != Some(false) && sources.postgres != Some(false)
    })
    .await;
}

/// Waits until Redis alone is enough.
pub(crate) async fn settled(bus: &Merged) {
    eventually(PATIENCE, "no doubt of Redis", async || !bus.sources().doubled).await;
}
