//! A primary, its replicas, and the sentinels that elect another one.

use std::{fmt::Write as _, fs, time::Duration};

use crate::{Certificates, Redis, Server, eventually, free_port, server::must};

/// How the sentinels call the primary.
const NAME: &str = "main";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// A server that says nothing for so long is down.
const DOWN_MS: u32 = 2_000;
const READY: Duration = Duration::from_secs(60);
/// The users that keep the servers together; Mingle's is another.
const REPLICA: &str = "replica";
const SENTINEL: &str = "sentinel";

/// One primary with two replicas, and three sentinels.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<Redis>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    server: Server,
    port: u16,
    /// Where it speaks TLS, too.
    tls: Option<u16>,
}

impl Sentinels {
    /// Starts them and waits until each sentinel knows all.
    pub async fn start() -> Self {
        Self::made(None).await
    }

    /// The same, who all speak TLS with each other and with whom [`Sentinels::url`]
    /// brings, each with a certificate.
    pub async fn start_tls(certificates: &Certificates) -> Self {
        Self::made(Some(certificates)).await
    }

    async fn made(certificates: Option<&Certificates>) -> Self {
        let mut servers = Vec::new();
        for _ in 0..=REPLICAS {
            let settings = [
                ("masteruser", REPLICA),
                ("masterauth", REPLICA),
                ("repl-diskless-sync-delay", "0"),
                ("tls-replication", if certificates.is_some() { "yes" } else { "no" }),
            ];
            let server = Redis::start_by(certificates, &settings).await;
            for user in [REPLICA, SENTINEL] {
                let may = ["ACL", "SETUSER", user, "on", &format!(">{user}"), "~*", "&*", "+@all"];
                assert_eq!(server.cli(&may), "OK");
            }
            // They are there after a restart, too.
            assert_eq!(server.cli(&["ACL", "SAVE"]), "OK");
            servers.push(server);
        }
        for replica in &servers[1..] {
            follow(replica, &servers[0]);
        }
        let sentinels = (0..SENTINELS).map(|_| watch(&servers[0], certificates)).collect();
        let all = Self { servers, sentinels };
        all.complete().await;
        all
    }

    /// Waits until each sentinel knows all, and which server the others follow.
    ///
    /// # Panics
    ///
    /// When that does not happen within a minute.
    pub async fn complete(&self) {
        eventually(READY, "each sentinel to know all", async || {
            self.are_complete() && self.are_in_step()
        })
        .await;
    }

    /// `redis+sentinel://` or `rediss+sentinel://` as Mingle's user.
    #[must_use]
    pub fn url(&self) -> String {
        let primary = self.servers[0].url().replacen(':', "+sentinel:", 1);
        let login = primary.split('@').next().unwrap_or_default();
        let ports = self.sentinels.iter().map(|it| it.tls.unwrap_or(it.port));
        let places: Vec<_> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
        format!("{login}@{}/{NAME}", places.join(","))
    }

    /// Which server the sentinels name: the one that most of them do.
    #[must_use]
    pub fn primary(&self) -> Option<&Redis> {
        let named = |server: &&Redis| {
            let port = server.public().port().to_string();
            let names = |at: &usize| {
                self.ask(*at, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
                    .is_some_and(|said| said.lines().nth(1) == Some(&port))
            };
            (0..SENTINELS).filter(names).count() > SENTINELS / 2
        };
        self.servers.iter().find(named)
    }

    /// The servers, the first primary first.
    #[must_use]
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The sentinels' processes.
    pub fn sentinels(&self) -> impl Iterator<Item = &Server> {
        self.sentinels.iter().map(|it| &it.server)
    }

    /// Cuts a server off from its replicas and from the sentinels, but not from
    /// Mingle: it serves on, and another is elected.
    pub fn cut_off(&self, server: &Redis) {
        // Who cannot log in is the default user, and as such hears and orders nothing.
        let deaf = ["ACL", "SETUSER", "default", "-ping", "-replicaof", "-slaveof"];
        assert_eq!(server.cli(&deaf), "OK");
        for user in [REPLICA, SENTINEL] {
            assert_eq!(server.cli(&["ACL", "SETUSER", user, "off"]), "OK");
            let _ = server.cli(&["CLIENT", "KILL", "USER", user]);
        }
    }

    /// Ends what [`Sentinels::cut_off`] began.
    pub fn join_again(&self, server: &Redis) {
        assert_eq!(server.cli(&["ACL", "SETUSER", "default", "+@all"]), "OK");
        for user in [REPLICA, SENTINEL] {
            assert_eq!(server.cli(&["ACL", "SETUSER", user, "on"]), "OK");
        }
    }

    fn are_complete(&self) -> bool {
        let others = format!("num-other-sentinels\n{}", SENTINELS - 1);
        let replicas = format!("num-slaves\n{REPLICAS}");
        (0..SENTINELS).all(|at| {
            let said = self.ask(at, &["SENTINEL", "MASTER", NAME]);
            said.is_some_and(|said| said.contains(&others) && said.contains(&replicas))
        })
    }

    /// One primary, and as many who follow it.
    fn are_in_step(&self) -> bool {
        let Some(primary) = self.primary() else { return false };
        let followed = format!("master\n127.0.0.1\n{}\nconnected", primary.public().port());
        let others = self.servers.iter().filter(|server| server.port() != primary.port());
        // Who is made to follow cuts off whoever asks.
        let role = |of: &Redis| of.try_cli(&["ROLE"]).unwrap_or_default();
        role(primary).starts_with("master")
            && others
                .into_iter()
                .all(|it| role(it).replacen("slave", "master", 1).starts_with(&followed))
    }

    fn ask(&self, at: usize, command: &[&str]) -> Option<String> {
        let Sentinel { server, port, .. } = &self.sentinels[at];
        server.is_running().then(|| crate::redis::ask(*port, None, command)).flatten()
    }
}

fn follow(replica: &Redis, primary: &Redis) {
    let port = primary.public().port().to_string();
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
}

fn watch(primary: &Redis, certificates: Option<&Certificates>) -> Sentinel {
    let (server, port) = (Server::prepare("sentinel", "TERM"), free_port());
    let tls = certificates.map(|certificates| (free_port(), certificates));
    let mut text = monitor(port, primary.public().port());
    if let Some((port, certificates)) = tls {
        text += "tls-replication yes\n";
        for (name, value) in certificates.settings(port) {
            let _ = writeln!(text, "{name} {value}");
        }
    }
    let file = server.folder().join("sentinel.conf");
    must(fs::write(&file, text), "sentinel.conf");
    server.start(&crate::redis::program(), &[file.into(), "--sentinel".into()]);
    Sentinel { server, port, tls: tls.map(|(port, _)| port) }
}

fn monitor(port: u16, primary: u16) -> String {
    format!(
        "port {port}\nbind 127.0.0.1\n\
         sentinel monitor {NAME} 127.0.0.1 {primary} {quorum}\n\
         sentinel auth-user {NAME} {SENTINEL}\nsentinel auth-pass {NAME} {SENTINEL}\n\
         sentinel down-after-milliseconds {NAME} {DOWN_MS}\n\
         sentinel failover-timeout {NAME} 5000\n",
        quorum = SENTINELS / 2 + 1,
    )
}
