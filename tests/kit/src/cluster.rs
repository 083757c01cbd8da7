//! Primaries that share the keys, and a replica of each.

use std::{
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    Certificates, Redis, eventually, eventually::eventually_blocking, free_port, server::must,
};

/// A server that says nothing for so long is down.
const DOWN_MS: &str = "2000";
const READY: Duration = Duration::from_secs(60);

/// A Redis Cluster on 127.0.0.1, whose users are those of [`Redis`].
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Redis>,
    /// How many of them belong to it: the last may not yet.
    joined: AtomicUsize,
}

/// What a node says of one of them.
#[derive(Debug)]
struct Said {
    port: u16,
    is_primary: bool,
    is_down: bool,
    /// First and last.
    slots: Vec<(u16, u16)>,
}

impl Cluster {
    /// Three primaries that all tests of this process share, and what stands before
    /// the keys of this test there: none does anything to the servers.
    ///
    /// # Panics
    ///
    /// When they are not together within a minute.
    pub async fn shared() -> (&'static Self, String) {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        static TESTS: AtomicU32 = AtomicU32::new(0);
        // As it is with PostgreSQL: the runtimes end with their tests.
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            must(runtime, "a runtime").block_on(Self::of(3, 0))
        };
        let shared = tokio::task::spawn_blocking(move || SHARED.get_or_init(start));
        let test = TESTS.fetch_add(1, Ordering::Relaxed);
        (must(shared.await, "the shared cluster"), format!("test-{test}:"))
    }

    /// Three primaries with a replica each.
    ///
    /// # Panics
    ///
    /// When they are not together within a minute.
    pub async fn start() -> Self {
        Self::of(3, 1).await
    }

    /// The same, to which [`Cluster::url`] leads by TLS with a client's certificate.
    ///
    /// # Panics
    ///
    /// When they are not together within a minute.
    pub async fn start_tls(certificates: &Certificates) -> Self {
        Self::made((3, 1), Some(certificates)).await
    }

    /// So many primaries with so many replicas each.
    ///
    /// # Panics
    ///
    /// When they are not together within a minute.
    pub async fn of(primaries: usize, replicas: usize) -> Self {
        Self::made((primaries, replicas), None).await
    }

    async fn made(
        (primaries, replicas): (usize, usize),
        certificates: Option<&Certificates>,
    ) -> Self {
        let mut servers = Vec::new();
        let joined = primaries * (1 + replicas);
        for _ in 0..=joined {
            servers.push(node(certificates).await);
        }
        let mut create: Vec<String> = vec!["create".into()];
        create.extend(servers[..joined].iter().map(|server| server.address().to_string()));
        create.extend(["--cluster-replicas".into(), replicas.to_string()]);
        manage(&create.iter().map(String::as_str).collect::<Vec<_>>());
        let cluster = Self { servers, joined: joined.into() };
        cluster.complete().await;
        cluster
    }

    /// Waits until all who run see all of them, a primary for each slot, and each
    /// replica in step.
    ///
    /// # Panics
    ///
    /// When that does not happen within a minute.
    pub async fn complete(&self) {
        eventually(READY, "all see a whole cluster", async || {
            self.servers().iter().all(|server| {
                let info = server.try_cli(&["CLUSTER", "INFO"]).unwrap_or_default();
                let is_ok = info.contains("cluster_state:ok");
                let role = server.try_cli(&["ROLE"]).unwrap_or_default();
                let is_in_step = role.starts_with("master") || role.contains("\nconnected");
                let known = format!("cluster_known_nodes:{}\r", self.servers().len());
                is_ok
                    && is_in_step
                    && info.contains(&known)
                    && !says(server).iter().any(|it| it.is_down)
            })
        })
        .await;
    }

    /// `redis+cluster://` or `rediss+cluster://` as Mingle's user, naming two of them.
    #[must_use]
    pub fn url(&self) -> String {
        let first = self.servers[0].url().replacen(':', "+cluster:", 1);
        format!("{first},{}", self.servers[1].public())
    }

    /// The same as the default user, who may prefix the keys.
    #[must_use]
    pub fn root_url(&self) -> String {
        self.servers[0].root_url().replacen(':', "+cluster:", 1)
    }

    /// All of them, the first primaries first.
    #[must_use]
    pub fn servers(&self) -> &[Redis] {
        &self.servers[..self.joined.load(Ordering::SeqCst)]
    }

    /// Which server has this key, as most of those who run see it.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&Redis> {
        let asked = self.running().next()?;
        let slot = asked.try_cli(&["CLUSTER", "KEYSLOT", key])?.parse().ok()?;
        self.owner_of(slot)
    }

    /// Which server has this slot, as most of those who run see it.
    #[must_use]
    pub fn owner_of(&self, slot: u16) -> Option<&Redis> {
        let has = |it: &Said| {
            it.is_primary && it.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
        };
        let owners: Vec<u16> = self
            .running()
            .filter_map(|it| says(it).iter().find(|it| has(it)).map(|it| it.port))
            .collect();
        let most = owners
            .iter()
            .copied()
            .max_by_key(|port| owners.iter().filter(|other| *other == port).count())?;
        self.servers().iter().find(|server| server.port() == most)
    }

    /// The servers that have slots, as the first that runs sees it.
    #[must_use]
    pub fn primaries(&self) -> Vec<&Redis> {
        let Some(asked) = self.running().next() else { return Vec::new() };
        let said = says(asked);
        let has = |server: &&Redis| {
            said.iter().any(|it| it.port == server.port() && it.is_primary && !it.slots.is_empty())
        };
        self.servers().iter().filter(has).collect()
    }

    /// Moves so many slots from one primary to another, with their keys.
    ///
    /// # Panics
    ///
    /// When `redis-cli` cannot.
    pub fn move_slots(&self, from: &Redis, to: &Redis, slots: u16) {
        let id = |of: &Redis| of.cli(&["CLUSTER", "MYID"]);
        self.agree();
        let (from_id, to_id, slots) = (id(from), id(to), slots.to_string());
        manage(&[
            "reshard",
            &from.address().to_string(),
            "--cluster-from",
            &from_id,
            "--cluster-to",
            &to_id,
            "--cluster-slots",
            &slots,
        ]);
    }

    /// Begins to move a slot: its keys are at the new server, and the slot is not.
    pub fn begin_move(&self, slot: u16, from: &Redis, to: &Redis) {
        let slot = slot.to_string();
        let id = |of: &Redis| of.cli(&["CLUSTER", "MYID"]);
        assert_eq!(to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]), "OK");
        assert_eq!(from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]), "OK");
        let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        let port = to.port().to_string();
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        migrate.extend(keys.lines().filter(|key| !key.is_empty()));
        assert!(keys.is_empty() || from.cli(&migrate) == "OK", "{migrate:?}");
    }

    /// Ends what [`Cluster::begin_move`] began.
    pub fn end_move(&self, slot: u16, from: &Redis, to: &Redis) {
        let (slot, id) = (slot.to_string(), to.cli(&["CLUSTER", "MYID"]));
        for server in [to, from] {
            assert_eq!(server.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "OK");
        }
    }

    /// Adds another primary, without slots, once: [`Cluster::rebalance`] gives it some.
    ///
    /// # Panics
    ///
    /// When it does not become one of them.
    pub async fn add(&self) {
        let new = &self.servers[self.joined.fetch_add(1, Ordering::SeqCst)];
        manage(&["add-node", &new.address().to_string(), &self.servers[0].address().to_string()]);
        self.complete().await;
    }

    /// Cuts a primary off from its replicas: what it takes from now on dies with it.
    pub fn cut_off(&self, primary: &Redis) {
        let deaf = ["ACL", "SETUSER", "default", "-psync", "-replconf"];
        assert_eq!(primary.cli(&deaf), "OK");
        let _ = primary.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// Gives each primary as many slots as the others.
    ///
    /// # Panics
    ///
    /// When `redis-cli` cannot.
    pub fn rebalance(&self) {
        self.agree();
        let any = self.servers[0].address().to_string();
        manage(&["rebalance", &any, "--cluster-use-empty-masters"]);
    }

    /// Waits until all say the same of who has which slot.
    fn agree(&self) {
        let any = self.servers[0].address().to_string();
        eventually_blocking(READY, "the cluster agrees", || call(&["check", &any]).is_ok());
    }

    fn running(&self) -> impl Iterator<Item = &Redis> {
        let servers = self.servers().iter();
        servers.filter(|it| it.server().is_running() && !it.server().is_frozen())
    }
}

async fn node(certificates: Option<&Certificates>) -> Redis {
    let port = free_port().to_string();
    let settings = [
        ("cluster-enabled", "yes"),
        ("cluster-port", &*port),
        ("cluster-config-file", "nodes.conf"),
        ("cluster-node-timeout", DOWN_MS),
        // What is left of a cluster serves on.
        ("cluster-require-full-coverage", "no"),
        ("repl-diskless-sync-delay", "0"),
        // Before 7.2 only such a one tells clients of TLS ports.
        ("tls-cluster", if certificates.is_some() { "yes" } else { "no" }),
        ("tls-replication", if certificates.is_some() { "yes" } else { "no" }),
    ];
    Redis::start_by(certificates, &settings).await
}

fn manage(arguments: &[&str]) {
    if let Err(said) = call(arguments) {
        panic!("redis-cli --cluster {arguments:?}: {said}");
    }
}

/// `redis-cli --cluster`; what it printed where it failed.
fn call(arguments: &[&str]) -> Result<(), String> {
    let mut cli = Command::new("redis-cli");
    cli.arg("--cluster").args(arguments).arg("--cluster-yes");
    match cli.output() {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => Err(String::from_utf8_lossy(&answer.stdout).into_owned()),
        Err(error) => panic!("redis-cli could not be started: {error}"),
    }
}

/// Reads CLUSTER NODES.
fn says(server: &Redis) -> Vec<Said> {
    let said = server.try_cli(&["CLUSTER", "NODES"]).unwrap_or_default();
    let node = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let port = words.get(1)?.split('@').next()?.rsplit_once(':')?.1.parse().ok()?;
        let slots = words.get(8..).unwrap_or_default().iter().filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((*range, *range));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(Said {
            port,
            is_primary: words.get(2)?.contains("master"),
            is_down: words.get(2)?.contains("fail") || words.get(2)?.contains("handshake"),
            slots: slots.collect(),
        })
    };
    said.lines().filter_map(node).collect()
}
