//! Which backends a process has: embedded ones, or those that it shares with
//! other processes.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use mingle_runtime::{
    Role,
    config::{Config, Problems, Section, sources},
    diagnostics::Diagnostics,
    health::Health,
    lifecycle::DataConfig,
    telemetry,
};
use mingle_store::{
    Backends, Database, Usage,
    bus::{self, Bus, Memory, Merged, Servers},
    clock::{Clock, SystemClock},
    postgres::{self, Postgres},
    redis::{self, Redis},
    sqlite::{self, Sqlite},
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::{
    servers::{DatabaseServer, RedisServer},
    vigil,
};

/// The sections of the shared backends.
pub(crate) const DEFAULTS: &str = include_str!("../config.default.toml");

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedisConfig {
    timeout_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseConfig {
    max_connections: u32,
    acquire_ms: u64,
    answer_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BusConfig {
    heartbeat_ms: u64,
    lost_after_ms: u64,
}

impl Section for RedisConfig {
    const NAME: &'static str = "redis";
    const DEFAULTS: &'static str = DEFAULTS;

    fn validate(&self, problems: &mut Problems) {
        let bounded = (1..=60_000).contains(&self.timeout_ms);
        problems.require(bounded, "redis.timeout_ms", "must be 1 to 60000");
    }
}

impl Section for DatabaseConfig {
    const NAME: &'static str = "database";
    const DEFAULTS: &'static str = DEFAULTS;

    fn validate(&self, problems: &mut Problems) {
        let some = self.max_connections > 0;
        problems.require(some, "database.max_connections", "must be at least 1");
        for (value, key) in
            [(self.acquire_ms, "database.acquire_ms"), (self.answer_ms, "database.answer_ms")]
        {
            problems.require((10..=60_000).contains(&value), key, "must be 10 to 60000");
        }
    }
}

impl Section for BusConfig {
    const NAME: &'static str = "bus";
    const DEFAULTS: &'static str = DEFAULTS;

    fn validate(&self, problems: &mut Problems) {
        let beats = (10..=60_000).contains(&self.heartbeat_ms);
        problems.require(beats, "bus.heartbeat_ms", "must be 10 to 60000");
        let later = self.lost_after_ms >= 2 * self.heartbeat_ms;
        problems.require(later, "bus.lost_after_ms", "must be at least twice heartbeat_ms");
    }
}

/// What a process is going to open.
pub(crate) enum Plan {
    /// Everything in one process, in memory and a file.
    Embedded,
    /// What is shared with other processes.
    Shared(Box<Shared>),
    /// Nothing: the roles keep no state.
    Nothing,
}

pub(crate) struct Shared {
    redis: (sources::Redis, RedisConfig),
    /// Another one for what may be forgotten.
    cache: Option<sources::Redis>,
    /// `None` where no role keeps anything in it.
    database: Option<(sources::Database, DatabaseConfig)>,
    bus: BusConfig,
    /// The roles of this process, for the others to know: a bit each.
    kinds: u64,
}

impl Plan {
    /// Roles in several processes need backends that they share: each on its
    /// own embedded ones would be a split brain that nobody notices.
    pub(crate) fn of(config: &Config, roles: &[Role]) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let environment = config.environment();
        let redis = sources::redis(environment, config.mode(), &mut problems);
        let cache = sources::cache(environment, redis.as_ref(), &mut problems);
        let database = sources::database(environment, &mut problems);
        let is_whole = roles.len() == Role::ALL.len();
        let keeps = roles.iter().any(|role| keeps_state(*role));
        let keeps_rows = roles.iter().any(|role| keeps_rows(*role));
        if (is_whole && (redis.is_some() != database.is_some())) || (!is_whole && keeps) {
            let why = "is missing: processes that share the work share their backends";
            for (key, is_there) in [
                ("REDIS_URL", redis.is_some()),
                ("DATABASE_URL", database.is_some() || !keeps_rows),
            ] {
                problems.require(is_there || problems.has(key), key, why);
            }
        }
        if (!is_whole || redis.is_some()) && roles.contains(&Role::Gateway) {
            for key in ["gateway.jwt_secret", "gateway.session_secret"] {
                let why = "is missing: gateways in several processes share their secrets";
                problems.require(!config.is_empty(key), key, why);
            }
        }
        let sections = (
            config.section(&mut problems),
            config.section(&mut problems),
            config.section(&mut problems),
        );
        problems.into_result()?;
        Ok(match (redis, database, sections) {
            (Some(redis), database, (Some(for_redis), Some(for_database), Some(bus)))
                if keeps && (database.is_some() || !keeps_rows) =>
            {
                let redis = (redis, for_redis);
                let database = database.filter(|_| keeps_rows);
                let database = database.map(|database| (database, for_database));
                let kinds = roles.iter().fold(0, |kinds, role| kinds | role.bit());
                Self::Shared(Box::new(Shared { redis, cache, database, bus, kinds }))
            }
            _ if keeps => Self::Embedded,
            _ => Self::Nothing,
        })
    }

    /// Opens it. A database that is away is waited for a while.
    pub(crate) async fn open(
        &self,
        data: &DataConfig,
        stop: CancellationToken,
    ) -> anyhow::Result<Opened> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut opened = Opened::nothing(clock.clone());
        match self {
            Self::Nothing => {}
            Self::Embedded => {
                let database = Sqlite::open(&data.dir).await?.into();
                let bus = Arc::new(Memory::new());
                opened.backends = Some(Backends { database, redis: None, bus, clock });
            }
            Self::Shared(shared) => {
                let database = shared.database().await?;
                let redis = shared.redis(stop.clone()).await?;
                opened.redis = Some(redis.clone());
                // Their own: all instances of these meet on Redis, and on nothing else.
                let meeting = |redis: &Redis| {
                    let servers = Servers::Redis(redis.clone());
                    Arc::new(Merged::start(servers, shared.bus.beats()))
                };
                if shared.kinds & Role::Ratelimit.bit() != 0 {
                    opened.limits = Some(meeting(&redis));
                }
                if shared.kinds & Role::Cache.bit() != 0 {
                    let redis = shared.cache(&redis, stop).await?;
                    opened.values = Some((redis.clone(), meeting(&redis)));
                }
                if let Some(database) = database {
                    let servers = Servers::Both(redis.clone(), database.clone());
                    let beats = bus::Options { kinds: shared.kinds, ..shared.bus.beats() };
                    let bus = Arc::new(Merged::start(servers, beats));
                    opened.bus = Some(bus.clone());
                    let database = database.into();
                    opened.backends = Some(Backends { database, redis: Some(redis), bus, clock });
                }
            }
        }
        Ok(opened)
    }

    /// Tells operators what is used.
    pub(crate) fn declare(&self, diagnostics: &Diagnostics, dir: &Path) {
        match self {
            Self::Nothing => {}
            Self::Embedded => {
                let file = dir.join(sqlite::FILE);
                let file = file.display().to_string();
                diagnostics.declare(("database", "sqlite"), &file, vigil::DATABASE);
                for name in ["bus", "presence", "match index", "limits", "cache"] {
                    diagnostics.declare((name, "memory"), "this process", vigil::REDIS);
                }
            }
            Self::Shared(shared) => {
                let redis = place(shared.redis.0.url.expose());
                let cache = shared.cache.as_ref().map(|cache| place(cache.url.expose()));
                let cache = cache.unwrap_or_else(|| redis.clone());
                diagnostics.declare(("cache", "redis"), &cache, vigil::REDIS);
                let mut on_redis = vec!["limits", "bus"];
                if let Some((database, ..)) = &shared.database {
                    let database = place(database.url.expose());
                    diagnostics.declare(("database", "postgresql"), &database, vigil::DATABASE);
                    on_redis.extend(["presence", "match index"]);
                }
                for name in on_redis {
                    diagnostics.declare((name, "redis"), &redis, vigil::REDIS);
                }
            }
        }
    }
}

impl Shared {
    async fn database(&self) -> anyhow::Result<Option<Postgres>> {
        let Some((source, config)) = &self.database else { return Ok(None) };
        connect(source, config).await.map(Some)
    }

    async fn redis(&self, stop: CancellationToken) -> anyhow::Result<Redis> {
        let (source, config) = &self.redis;
        let options = redis_options(source, config);
        Redis::start(options, stop).await.context("cannot use REDIS_URL")
    }

    /// That of what may be forgotten, which is `of_all` where there is no other.
    async fn cache(&self, of_all: &Redis, stop: CancellationToken) -> anyhow::Result<Redis> {
        let Some(source) = &self.cache else { return Ok(of_all.clone()) };
        let options = redis_options(source, &self.redis.1);
        let options = redis::Options { may_forget: true, ..options };
        Redis::start(options, stop).await.context("cannot use REDIS_CACHE_URL")
    }
}

impl BusConfig {
    fn beats(&self) -> bus::Options {
        bus::Options {
            beat: Duration::from_millis(self.heartbeat_ms),
            lost_after: Duration::from_millis(self.lost_after_ms),
            ..bus::Options::default()
        }
    }
}

/// Connects to PostgreSQL.
pub(crate) async fn connect(
    source: &sources::Database,
    config: &DatabaseConfig,
) -> anyhow::Result<Postgres> {
    let place = place(source.url.expose());
    let why = || format!("cannot use DATABASE_URL, the database at {place}");
    Postgres::connect(database_options(source, config)).await.with_context(why)
}

pub(crate) fn database_options(
    source: &sources::Database,
    config: &DatabaseConfig,
) -> postgres::Options {
    postgres::Options {
        direct_url: source.direct_url.as_ref().map(|url| url.expose().to_owned()),
        max_connections: config.max_connections,
        acquire: Duration::from_millis(config.acquire_ms),
        answer: Duration::from_millis(config.answer_ms),
        ..postgres::Options::new(source.url.expose())
    }
}

pub(crate) fn redis_options(source: &sources::Redis, config: &RedisConfig) -> redis::Options {
    let timeout = source.request_timeout_ms.unwrap_or(config.timeout_ms);
    let path = |file: &Option<String>| file.as_ref().map(Into::into);
    redis::Options {
        url: source.url.expose().to_owned(),
        tls: redis::Tls {
            ca: path(&source.tls.ca),
            cert: path(&source.tls.cert),
            key: path(&source.tls.key),
            verify: source.tls.verify,
        },
        prefix: source.key_prefix.clone(),
        timeout: Duration::from_millis(timeout),
        may_forget: false,
    }
}

/// Host and port of a URL, without its secrets.
pub(crate) fn place(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

fn show(pools: &[Usage]) {
    for Usage { pool, busy, idle, max } in pools {
        for (state, count) in [("busy", busy), ("idle", idle), ("max", max)] {
            let count = u32::try_from(*count).unwrap_or(u32::MAX);
            metrics::gauge!("mingle_database_connections", "pool" => *pool, "state" => state)
                .set(count);
        }
    }
}

fn keeps_state(role: Role) -> bool {
    !matches!(role, Role::Gateway)
}

fn keeps_rows(role: Role) -> bool {
    !matches!(role, Role::Gateway | Role::Ratelimit | Role::Cache)
}

/// What was opened.
pub(crate) struct Opened {
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` where memory stands for it.
    pub(crate) redis: Option<Redis>,
    /// `None` for roles that keep no rows.
    pub(crate) backends: Option<Backends>,
    bus: Option<Arc<Merged>>,
    /// That of ratelimit.
    limits: Option<Arc<Merged>>,
    /// Those of the cache.
    values: Option<(Redis, Arc<Merged>)>,
}

impl Opened {
    fn nothing(clock: Arc<dyn Clock>) -> Self {
        Self { clock, redis: None, backends: None, bus: None, limits: None, values: None }
    }

    /// Keeps `health` true about the servers, until `stop`, and shows how much of
    /// their connections is in use.
    pub(crate) fn watch(&self, health: Health, stop: CancellationToken) {
        mingle_store::describe();
        if let Some(Backends { database, .. }) = &self.backends {
            let database = database.clone();
            telemetry::observe(move || database.usage().map(|pools| show(&pools)).is_some());
        }
        if let Some(redis) = self.redis.clone() {
            let gate = match &self.backends {
                Some(Backends { database: Database::Postgres(postgres), .. }) => {
                    Some(postgres.gate().clone())
                }
                _ => None,
            };
            tokio::spawn(vigil::watch(health, redis, (self.bus.clone(), gate), stop));
        }
    }

    /// Tells operators how the servers are, as the process `node_id` sees them.
    pub(crate) fn tell(&self, diagnostics: &Diagnostics, node_id: &Arc<str>) {
        if let Some(redis) = self.redis.clone() {
            diagnostics.ask(RedisServer { redis, node_id: node_id.clone() });
        }
        if let Some(Backends { database, .. }) = &self.backends {
            diagnostics.ask(DatabaseServer(database.clone()));
        }
    }

    /// What the instances of ratelimit count on, and tell each other by; `None` where
    /// memory stands for it.
    pub(crate) fn limits(&self) -> Option<(Redis, Arc<dyn Bus>)> {
        let bus: Arc<dyn Bus> = self.limits.clone()?;
        Some((self.redis.clone()?, bus))
    }

    /// What the instances of the cache keep values on, and tell each other by; `None`
    /// where memory stands for it.
    pub(crate) fn cache(&self) -> Option<(Redis, Arc<dyn Bus>)> {
        let (redis, bus) = self.values.clone()?;
        Some((redis, bus))
    }

    /// Says farewell to the other processes and closes the connections.
    pub(crate) async fn close(self) {
        let values = self.values.iter().map(|(_, bus)| bus);
        for bus in self.bus.iter().chain(&self.limits).chain(values) {
            bus.close().await;
        }
        if let Some(Backends { database, .. }) = &self.backends {
            Database::close(database).await;
        }
    }
}
