//! Many `mingle` processes over one Redis and one PostgreSQL.

mod plan;

use std::{net::SocketAddr, path::PathBuf, thread, time::Duration};

use crate::{
    Balancer, Builder, Certificates, Cluster, Envoy, Finished, Mingle, Pooler, Postgres, Proxy,
    Redis, Sentinels, TestDatabase, To, adopted, clock, free_port, ways::Ways,
};

pub use plan::Plan;

/// Each role with how many processes it has.
const SHAPE: &[(&str, usize)] = &[
    ("cache", 1),
    ("ratelimit", 1),
    ("presence", 1),
    ("chat", 2),
    ("matchmaking", 2),
    ("gateway", 2),
];

/// The roles that others call.
fn services() -> impl Iterator<Item = &'static str> {
    SHAPE.iter().map(|(role, _)| *role).filter(|role| *role != "gateway")
}

/// A role and the ports that it keeps over restarts.
#[derive(Clone, Copy, Debug)]
struct Place {
    role: &'static str,
    grpc: u16,
    http: u16,
}

impl Place {
    fn new(role: &'static str) -> Self {
        Self { role, grpc: free_port(), http: free_port() }
    }
}

/// The Redis of all.
#[derive(Debug)]
enum Shared {
    One(Redis),
    Elected(Sentinels),
    Parted(Cluster),
}

/// See the module. The processes and servers end with this value, or with the
/// test process.
///
/// # Panics
///
/// At the end of a test that has not failed, when a process ended by itself or
/// panicked meanwhile: where a role has two, nobody else would see it.
#[derive(Debug)]
pub struct Deployment {
    redis: Shared,
    /// Of that, where it speaks TLS.
    certificates: Option<Certificates>,
    pooler: Option<(Pooler, bool)>,
    postgres: Option<Postgres>,
    database: TestDatabase,
    env: Vec<(String, String)>,
    program: Option<PathBuf>,
    envoy: Option<Envoy>,
    balancer: Option<Balancer>,
    processes: Vec<(Place, Option<Mingle>)>,
    /// Of each process, when each has its own.
    ways: Vec<Ways>,
    /// What one process has beside the others: its port of gRPC and the pair.
    own: Vec<(u16, String, String)>,
    /// Of processes that are no more: see [`Deployment::fallen`].
    fallen: Vec<String>,
}

impl Drop for Deployment {
    /// Fails a test that would pass although a process ended or panicked.
    fn drop(&mut self) {
        if !thread::panicking() {
            let fallen = self.fallen();
            assert!(fallen.is_empty(), "processes ended by themselves: {fallen:#?}");
        }
    }
}

impl Deployment {
    /// How to start one.
    #[must_use]
    pub fn plan() -> Plan {
        Plan::default()
    }

    /// Starts every process that does not run: gateways when those they call
    /// are ready.
    pub async fn start(&mut self) {
        for is_gateway in [false, true] {
            for at in 0..self.processes.len() {
                if (self.processes[at].0.role == "gateway") == is_gateway {
                    self.spawn(at);
                }
            }
            for (_, process) in &mut self.processes {
                if let Some(process) = process {
                    process.ready().await;
                }
            }
        }
        if let Some(envoy) = &self.envoy {
            envoy.settle().await;
        }
        if let Some(balancer) = &self.balancer {
            balancer.settle().await;
        }
    }

    /// Asks every process to end, callers before whom they call, and returns
    /// their exit codes.
    pub async fn terminate(&mut self, deadline: Duration) -> Vec<Option<i32>> {
        let mut codes = Vec::new();
        self.fallen = self.fallen();
        for (_, process) in self.processes.iter_mut().rev() {
            if let Some(mut process) = process.take() {
                codes.push(process.sigterm(deadline).await.code());
            }
        }
        codes
    }

    /// The `nth` process of a role.
    ///
    /// # Panics
    ///
    /// When there is none, or it does not run.
    pub fn process(&mut self, role: &str, nth: usize) -> &mut Mingle {
        let at = self.position(role, nth);
        match &mut self.processes[at].1 {
            Some(process) => process,
            None => panic!("{role} {nth} does not run"),
        }
    }

    /// Sets an environment variable of one process from its next start on.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub fn set_env(&mut self, role: &str, nth: usize, key: &str, value: &str) {
        let place = self.processes[self.position(role, nth)].0;
        self.own.push((place.grpc, key.to_owned(), value.to_owned()));
    }

    /// Starts a process that does not run, and waits for nothing:
    /// [`Deployment::start`] does.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    pub fn respawn(&mut self, role: &str, nth: usize) {
        let at = self.position(role, nth);
        self.spawn(at);
    }

    fn spawn(&mut self, at: usize) {
        if self.processes[at].1.is_none() {
            self.processes[at].1 = Some(self.builder(at).spawn());
        }
    }

    fn position(&self, role: &str, nth: usize) -> usize {
        let places = self.processes.iter().enumerate();
        let mut of_role = places.filter(|(_, (place, _))| place.role == role);
        match of_role.nth(nth) {
            Some((at, _)) => at,
            None => panic!("there is no {role} {nth}"),
        }
    }

    /// The way from a process.
    ///
    /// # Panics
    ///
    /// When there is none: see [`Plan::ways`].
    #[must_use]
    pub fn way(&self, role: &str, nth: usize, to: To) -> &Proxy {
        let ways = self.ways.get(self.position(role, nth));
        match ways.and_then(|ways| ways.to(to)) {
            Some(way) => way,
            None => panic!("no way from {role} {nth} to {to}"),
        }
    }

    /// Everything that processes call.
    fn called(&self) -> Vec<(To, SocketAddr)> {
        let redis = self.redis().address();
        let postgres = ([127, 0, 0, 1], self.database.port).into();
        let mut called = vec![(To::Redis, redis), (To::Postgres, postgres)];
        for role in services() {
            let peers = self.grpc(role).into_iter().enumerate();
            called.extend(peers.map(|(nth, at)| (To::Peer(role, nth), at)));
        }
        called
    }

    /// Kills a process, and its successor's clock is this far ahead of the
    /// machine's, or behind.
    pub async fn restart_ahead_by(&mut self, role: &str, nth: usize, seconds: i64) {
        for (key, value) in clock::ahead_by(seconds) {
            self.set_env(role, nth, key, &value);
        }
        self.kill_and_restart(role, nth).await;
        clock::forget(self.process(role, nth).pid());
    }

    /// Kills a process and its successor starts at the same address.
    pub async fn kill_and_restart(&mut self, role: &str, nth: usize) {
        self.kill9(role, nth);
        self.start().await;
    }

    /// Asks a process to end and waits until it has; [`Deployment::start`]
    /// starts its successor at the same address.
    ///
    /// # Panics
    ///
    /// When it is still there after `deadline`.
    pub async fn stop(&mut self, role: &str, nth: usize, deadline: Duration) -> Finished {
        self.fallen = self.fallen();
        let process = self.process(role, nth);
        let status = process.sigterm(deadline).await;
        let log = process.log();
        self.forget(role, nth);
        Finished { status, log }
    }

    /// Kills a process, which learns nothing of it.
    pub fn kill9(&mut self, role: &str, nth: usize) {
        self.fallen = self.fallen();
        self.process(role, nth).kill9();
        self.forget(role, nth);
    }

    fn forget(&mut self, role: &str, nth: usize) {
        let at = self.position(role, nth);
        self.processes[at].1 = None;
    }

    /// Kills every process.
    pub fn kill9_all(&mut self) {
        self.fallen = self.fallen();
        for (_, process) in &mut self.processes {
            if let Some(mut process) = process.take() {
                process.kill9();
            }
        }
    }

    /// Processes that ended by themselves or panicked so far, and how.
    #[must_use]
    pub fn fallen(&mut self) -> Vec<String> {
        let mut fallen = self.fallen.clone();
        for (place, process) in &mut self.processes {
            let how = process.as_mut().and_then(Mingle::fallen);
            fallen.extend(how.map(|how| format!("{} at {}: {how}", place.role, place.grpc)));
        }
        fallen
    }

    /// The processes that run, each with its role.
    pub fn running(&self) -> impl Iterator<Item = (&'static str, &Mingle)> {
        let all = self.processes.iter();
        all.filter_map(|(place, process)| Some((place.role, process.as_ref()?)))
    }

    /// What stands between, if anything does.
    #[must_use]
    pub fn envoy(&self) -> Option<&Envoy> {
        self.envoy.as_ref()
    }

    /// What stands before the gateways, if anything does.
    #[must_use]
    pub fn balancer(&self) -> Option<&Balancer> {
        self.balancer.as_ref()
    }

    /// What each process of a role counts under this name without labels; of one that
    /// does not run, nothing.
    #[must_use]
    pub fn counts(&self, role: &str, name: &str) -> Vec<Option<u64>> {
        let of_role = self.processes.iter().filter(|(place, _)| place.role == role);
        let count = |process: &Mingle| {
            let metrics = adopted::page(process.probes_addr().port(), "/metrics").ok()?;
            let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(of, _)| *of == name)?.1.parse().ok()
        };
        of_role.map(|(_, process)| process.as_ref().and_then(count)).collect()
    }

    /// Where the gateways listen.
    #[must_use]
    pub fn gateways(&self) -> Vec<std::net::SocketAddr> {
        self.places("gateway").map(|place| ([127, 0, 0, 1], place.http).into()).collect()
    }

    /// Where the processes of a role serve gRPC.
    #[must_use]
    pub fn grpc(&self, role: &str) -> Vec<std::net::SocketAddr> {
        self.places(role).map(|place| ([127, 0, 0, 1], place.grpc).into()).collect()
    }

    /// The Redis of all; behind sentinels the one that was the primary at first, of a
    /// cluster the first one.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        match &self.redis {
            Shared::One(redis) => redis,
            Shared::Elected(all) => &all.servers()[0],
            Shared::Parted(all) => &all.servers()[0],
        }
    }

    /// Who names it, when anybody does.
    #[must_use]
    pub fn sentinels(&self) -> Option<&Sentinels> {
        match &self.redis {
            Shared::Elected(all) => Some(all),
            Shared::One(_) | Shared::Parted(_) => None,
        }
    }

    /// All of it, when it is a cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.redis {
            Shared::Parted(all) => Some(all),
            Shared::One(_) | Shared::Elected(_) => None,
        }
    }

    /// The database server, when it is this deployment's own.
    #[must_use]
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// What stands before the database, if anything does.
    #[must_use]
    pub fn pooler(&self) -> Option<&Pooler> {
        self.pooler.as_ref().map(|(pooler, _)| pooler)
    }

    /// The database of all, past any pooler.
    #[must_use]
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    fn places(&self, role: &str) -> impl Iterator<Item = Place> {
        self.processes.iter().map(|(place, _)| *place).filter(move |place| place.role == role)
    }

    fn builder(&self, at: usize) -> Builder {
        let place = self.processes[at].0;
        let mut builder = Mingle::builder()
            .arg("serve")
            .arg(place.role)
            .env("MINGLE_GRPC__LISTEN", format!("127.0.0.1:{}", place.grpc))
            .env("MINGLE_GATEWAY__LISTEN", format!("127.0.0.1:{}", place.http));
        if self.balancer.is_some() {
            builder = builder.env("MINGLE_GATEWAY__TRUSTED_PROXIES", "[\"127.0.0.1/32\"]");
        }
        if place.role != "gateway" {
            let (redis, postgres) = self.backends(at);
            builder = builder
                .env("REDIS_URL", redis)
                .env("DATABASE_URL", self.pooler().map_or(&postgres, |it| &it.url))
                .env("MINGLE_DATABASE__MAX_CONNECTIONS", "8");
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .env("REDIS_TLS_CA", certificates.ca())
                .env("REDIS_TLS_CERT", certificates.cert())
                .env("REDIS_TLS_KEY", certificates.key());
        }
        if matches!(self.pooler, Some((_, true))) {
            builder = builder.env("DATABASE_DIRECT_URL", &self.database.url);
        }
        if let Some(program) = &self.program {
            builder = builder.program(program);
        }
        for role in services() {
            let peers = self.peers(at, role);
            let peers: Vec<_> = peers.iter().map(|at| format!("\"http://{at}\"")).collect();
            let key = format!("MINGLE_PEERS__{}", role.to_uppercase());
            builder = builder.env(key, format!("[{}]", peers.join(", ")));
        }
        // A program of another version may not know these.
        if place.role == "gateway" && self.program.is_none() {
            let peers: Vec<_> =
                self.grpc("gateway").iter().map(|at| format!("\"http://{at}\"")).collect();
            builder = builder.env("MINGLE_PEERS__GATEWAY", format!("[{}]", peers.join(", ")));
        }
        let own = self.own.iter().filter(|(grpc, ..)| *grpc == place.grpc);
        let all = self.env.iter().map(|(key, value)| (key, value));
        let all = all.chain(own.map(|(_, key, value)| (key, value)));
        all.fold(builder, |builder, (key, value)| builder.env(key, value))
    }

    /// Where a process finds Redis and PostgreSQL.
    fn backends(&self, at: usize) -> (String, String) {
        let ways = self.ways.get(at);
        let by = |to, url: String, port: u16| match ways.and_then(|ways| ways.to(to)) {
            Some(way) => url.replace(&format!(":{port}"), &format!(":{}", way.address().port())),
            None => url,
        };
        let (redis, database) = (self.redis(), &self.database);
        let url = match &self.redis {
            Shared::One(redis) => redis.url(),
            Shared::Elected(all) => all.url(),
            Shared::Parted(all) => all.url(),
        };
        (by(To::Redis, url, redis.port()), by(To::Postgres, database.url.clone(), database.port))
    }

    /// Where a process finds those of a role.
    fn peers(&self, at: usize, role: &'static str) -> Vec<SocketAddr> {
        if let Some(envoy) = &self.envoy {
            return vec![envoy.address(role)];
        }
        let direct = self.grpc(role);
        match self.ways.get(at) {
            None => direct,
            Some(ways) => (0..direct.len())
                .filter_map(|nth| Some(ways.to(To::Peer(role, nth))?.address()))
                .collect(),
        }
    }
}
