//! A Redis server of one's own, with its faults.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::{Certificates, Server, eventually, server::must};

/// What adopters give Mingle's user.
const USERS: &str = include_str!("../../../deploy/redis/users.acl");
/// Of that user, here.
const PASSWORD: &str = "of-mingle";
/// The folder of the append-only files.
const DATA: &str = "appendonlydir";
const READY: Duration = Duration::from_secs(20);

/// A running `redis-server` on a free port of 127.0.0.1, ended with this value
/// or with the test process.
///
/// It keeps what it acknowledged over [`Redis::restart`] (append-only file). Mingle's
/// user may do there what `deploy/redis/users.acl` lets it do, the default one everything.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    /// Bound to the port and never listening, which keeps it from others while
    /// the server is down and does not keep the server from it.
    _reserved: TcpSocket,
    /// The same for TLS, where it speaks that, too.
    tls: Option<(u16, TcpSocket)>,
    arguments: Vec<OsString>,
    password: Option<String>,
}

impl Redis {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    ///
    /// When `redis-server` is not installed or does not answer in time.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more settings, each by its name in `redis.conf`. Relative
    /// paths are below the folder of [`Redis::server`].
    ///
    /// # Panics
    ///
    /// When `redis-server` is not installed or does not answer in time.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_at(settings, None).await
    }

    /// One that speaks TLS at another port, which [`Redis::url`] names, and may ask
    /// clients for a certificate of the same authority.
    ///
    /// # Panics
    ///
    /// When `redis-server` is not installed or does not answer in time.
    pub async fn start_tls(certificates: &Certificates, asks: bool) -> Self {
        let asks = [("tls-auth-clients", if asks { "yes" } else { "no" })];
        Self::start_by(Some(certificates), &asks).await
    }

    /// With these settings, and by TLS, too, with these files.
    pub(crate) async fn start_by(
        certificates: Option<&Certificates>,
        settings: &[(&str, &str)],
    ) -> Self {
        let Some(certificates) = certificates else { return Self::start_with(settings).await };
        let (reserved, port) = reserve();
        let tls = certificates.settings(port);
        let tls = tls.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = tls.chain(settings.iter().copied()).collect();
        Self::start_at(&all, Some((port, reserved))).await
    }

    async fn start_at(settings: &[(&str, &str)], tls: Option<(u16, TcpSocket)>) -> Self {
        let server = Server::prepare("redis", "TERM");
        let (reserved, port) = reserve();
        let own = port.to_string();
        let mut all = vec![
            ("port", own.as_str()),
            ("bind", "127.0.0.1"),
            ("save", ""),
            ("appendonly", "yes"),
            // Its own death is all that it must survive here.
            ("appendfsync", "no"),
        ];
        all.extend_from_slice(settings);
        let password = settings.iter().find(|(name, _)| *name == "requirepass");
        let password = password.map(|(_, value)| (*value).to_owned());
        if password.is_none() {
            must(fs::write(server.folder().join("users.acl"), users()), "users.acl");
            all.push(("aclfile", "users.acl"));
        }
        let arguments = all
            .iter()
            .flat_map(|(name, value)| [format!("--{name}").into(), (*value).into()])
            .collect();
        let redis = Self { server, port, _reserved: reserved, tls, arguments, password };
        redis.run().await;
        redis
    }

    /// `redis://` or `rediss://` as Mingle's user; as the default one where that has a
    /// password.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.tls {
            Some(_) => format!("rediss://mingle:{PASSWORD}@{}", self.public()),
            None => self.url_by(self.address()),
        }
    }

    /// The same by the way of a proxy.
    #[must_use]
    pub fn url_by(&self, address: SocketAddr) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{address}"),
            None => format!("redis://mingle:{PASSWORD}@{address}"),
        }
    }

    /// `redis://` as the default user, for what Mingle never asks for.
    #[must_use]
    pub fn root_url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where it listens to whom [`Redis::url`] brings.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        let port = self.tls.as_ref().map_or(self.port, |(port, _)| *port);
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// The port of 127.0.0.1, the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process behind it.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What `redis-cli` prints for this command, without the last line's end:
    /// another way to the server than the code under test. Blocks, so not
    /// while the server is frozen.
    ///
    /// # Panics
    ///
    /// When `redis-cli` cannot reach the server.
    #[must_use]
    pub fn cli(&self, command: &[&str]) -> String {
        match self.try_cli(command) {
            Some(answer) => answer,
            None => panic!("redis-cli {command:?}: no server"),
        }
    }

    /// Stops the process (SIGSTOP): connections stay open, new ones are taken
    /// by the kernel, and nothing answers.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Ends what [`Redis::freeze`] began: what was sent meanwhile is executed.
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// Kills the process. Its port refuses from then on.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Kills the process if it runs, and starts it on the same port with the
    /// data that it had.
    pub async fn restart(&self) {
        self.server.kill();
        self.run().await;
    }

    /// The same without any data.
    ///
    /// # Panics
    ///
    /// When the data cannot be removed.
    pub async fn restart_empty(&self) {
        self.server.kill();
        self.begin_empty();
        self.ready().await;
    }

    /// Keeps the data as it is now, for [`Redis::restart_from`].
    ///
    /// # Panics
    ///
    /// When it cannot be copied.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let kept = must(tempfile::tempdir(), "a folder for a snapshot");
        copy(&self.server.folder().join(DATA), kept.path());
        Snapshot(kept)
    }

    /// Kills the process if it runs, and starts it on the same port with the
    /// data that it had then.
    ///
    /// # Panics
    ///
    /// When the data cannot be replaced.
    pub async fn restart_from(&self, snapshot: &Snapshot) {
        self.server.kill();
        let data = self.server.folder().join(DATA);
        must(fs::remove_dir_all(&data), "the data");
        must(fs::create_dir(&data), "the data");
        copy(snapshot.0.path(), &data);
        self.run().await;
    }

    /// Starts the process after [`Redis::kill`] and waits for nothing: it may
    /// still read its data.
    pub fn begin(&self) {
        self.server.start(&program(), &self.arguments);
    }

    /// The same without any data.
    ///
    /// # Panics
    ///
    /// When the data cannot be removed.
    pub fn begin_empty(&self) {
        must(fs::remove_dir_all(self.server.folder().join(DATA)), "the data");
        self.begin();
    }

    async fn run(&self) {
        self.begin();
        self.ready().await;
    }

    /// Waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not within 20 s.
    pub async fn ready(&self) {
        eventually(READY, "redis-server to answer", async || {
            self.try_cli(&["PING"]).is_some_and(|answer| answer == "PONG")
        })
        .await;
    }

    /// The same as [`Redis::cli`]; `None` when the server cannot be reached.
    ///
    /// # Panics
    ///
    /// When `redis-cli` is not installed.
    #[must_use]
    pub fn try_cli(&self, command: &[&str]) -> Option<String> {
        ask(self.port, self.password.as_deref(), command)
    }
}

/// What `redis-cli` prints; `None` when nobody is there.
pub(crate) fn ask(port: u16, password: Option<&str>, command: &[&str]) -> Option<String> {
    let mut cli = Command::new("redis-cli");
    cli.args(["-h", "127.0.0.1", "-p"]).arg(port.to_string()).args(command);
    if let Some(password) = password {
        cli.env("REDISCLI_AUTH", password);
    }
    let answer = match cli.output() {
        Ok(answer) => answer,
        Err(error) => panic!("redis-cli could not be started: {error}"),
    };
    let text = String::from_utf8_lossy(&answer.stdout).trim_end_matches('\n').to_owned();
    answer.status.success().then_some(text)
}

/// The data of a [`Redis`] at a time.
#[derive(Debug)]
pub struct Snapshot(TempDir);

impl Snapshot {
    /// Whether these bytes are anywhere in it.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        must(fs::read_dir(self.0.path()), "the data").any(|entry| {
            let file = must(fs::read(must(entry, "the data").path()), "a file of the data");
            file.windows(text.len()).any(|bytes| bytes == text.as_bytes())
        })
    }
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    for entry in must(fs::read_dir(from), "the data") {
        let entry = must(entry, "the data");
        must(fs::copy(entry.path(), to.join(entry.file_name())), "a file of the data");
    }
}

/// The Redis of the machine, or what stands for it in this run of the tests.
pub(crate) fn program() -> OsString {
    env::var_os("MINGLE_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

fn users() -> String {
    USERS
        .replace("user default off", "user default on nopass ~* &* +@all")
        .replace(" resetpass ", &format!(" >{PASSWORD} "))
}

fn reserve() -> (TcpSocket, u16) {
    let reserved = TcpSocket::new_v4().and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    });
    match reserved {
        Ok(reserved) => reserved,
        Err(error) => panic!("a port: {error}"),
    }
}
