//! A PostgreSQL of the machine's own package, in a temporary folder.

use crate::{
    Disk, Server, eventually, free_port,
    installed::server_program,
    server::{must, succeed},
};
use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How long a start, or the recovery after a crash, may take on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Of Debian's package; the server refuses to run as root.
const USER: &str = "postgres";
/// Durable as in production, and small.
const CONFIG: &str = "
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = '16MB'
fsync = on
log_min_messages = warning
";

/// A cluster with its server: user `postgres`, no password, 127.0.0.1.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    databases: AtomicU32,
}

/// What of a server is on a [`Disk`] of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The write-ahead log, in segments of 1 MiB.
    Log,
    /// All but the log.
    Tables,
}

/// An empty database of its own for one test.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Its `postgres://` address.
    pub url: String,
    /// The server's port of 127.0.0.1.
    pub port: u16,
}

/// A transaction pooler, as long as this lives, and a database behind it.
#[derive(Debug)]
pub struct Pooler {
    /// The database's address through the pooler.
    pub url: String,
    /// The same past it.
    pub direct_url: String,
    port: u16,
    server: Server,
}

impl Pooler {
    /// Kills it, with every session through it. Its port refuses from then on.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts it again on the same port; kills it first when it runs.
    ///
    /// # Panics
    ///
    /// When it is not ready within 60 s.
    pub async fn restart(&self) {
        self.server.kill();
        let folder = self.server.folder();
        let mut command = as_user(folder, &server_program("pgbouncer"));
        command.arg(folder.join("pgbouncer.ini"));
        run(&self.server, &command);
        eventually(START, "pgbouncer is ready", async || {
            assert!(self.server.is_running(), "pgbouncer ended: {}", self.server.log());
            accepts(self.port).unwrap_or(false)
        })
        .await;
    }
}

impl Postgres {
    /// The server that all tests of this process share: each takes a
    /// [`Postgres::database`], and none does anything to the server.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        // The first caller starts it and the others wait, on threads: their
        // runtimes end with their tests, and the server does not.
        let shared = tokio::task::spawn_blocking(|| SHARED.get_or_init(|| Self::boot(None)));
        let shared = must(shared.await, "the shared postgres");
        shared.ready().await;
        shared
    }

    /// A server of this test's own, to be frozen, killed and set.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed, or is not ready within 60 s.
    pub async fn start() -> Self {
        let postgres = must(tokio::task::spawn_blocking(|| Self::boot(None)).await, "a postgres");
        postgres.ready().await;
        postgres
    }

    /// The same with a part of it on a disk, which must outlive it.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed, or is not ready within 60 s.
    pub async fn start_on(disk: &Disk, part: Part) -> Self {
        let at = Some((disk.path().join("postgres"), part));
        let booted = tokio::task::spawn_blocking(|| Self::boot(at)).await;
        let postgres = must(booted, "a postgres");
        postgres.ready().await;
        postgres
    }

    /// Makes an empty database.
    ///
    /// # Panics
    ///
    /// When the server does not.
    pub async fn database(&self) -> TestDatabase {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql("postgres", &format!("create database {name}"));
        let url = format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port);
        TestDatabase { url, port: self.port }
    }

    /// Starts a transaction pooler of four sessions in front of the server, and
    /// makes an empty database behind it. It refuses the settings of a session.
    ///
    /// # Panics
    ///
    /// When PgBouncer is not installed, or is not ready within 60 s.
    pub async fn pooler(&self) -> Pooler {
        self.pooler_that_ignores("extra_float_digits").await
    }

    /// The same; it takes and drops these parameters of a session's start.
    ///
    /// # Panics
    ///
    /// When PgBouncer is not installed, or is not ready within 60 s.
    pub async fn pooler_that_ignores(&self, parameters: &str) -> Pooler {
        let (server, port) = (Server::prepare("pgbouncer", "INT"), free_port());
        let direct = self.database().await;
        let config = server.folder().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={USER}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n\
             max_client_conn = 500\nignore_startup_parameters = {parameters}\n",
            self.port
        );
        must(fs::write(&config, settings), "pgbouncer.ini");
        let own = format!(":{}/", self.port);
        let url = direct.url.replace(&own, &format!(":{port}/"));
        let pooler = Pooler { url, direct_url: direct.url, port, server };
        pooler.restart().await;
        pooler
    }

    /// Runs SQL as superuser, beside the code under test, and returns what psql
    /// prints: fields parted by `|`, a row a line. Blocks.
    ///
    /// # Panics
    ///
    /// When a statement fails.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]).args([
            "-U",
            USER,
            "-p",
            &self.port.to_string(),
            "-d",
            database,
            "-c",
            sql,
        ]);
        succeed(psql).trim_end().to_owned()
    }

    /// The port of 127.0.0.1, the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, with its faults.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Stops the whole server: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Ends what [`Postgres::freeze`] began.
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// Crashes the server: every process of it is killed.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts the server again on the same port, with what it had on disk;
    /// kills it first when it runs.
    ///
    /// # Panics
    ///
    /// When it is not ready within 60 s.
    pub async fn restart(&self) {
        self.server.kill();
        self.begin();
        self.ready().await;
    }

    fn boot(small: Option<(PathBuf, Part)>) -> Self {
        let server = Server::prepare("postgres", "QUIT");
        let (programs, port) = (programs(), free_port());
        let (mut data, mut log) = (server.folder().join("data"), None);
        let mut config = CONFIG.to_owned();
        if let Some((folder, part)) = small {
            must(fs::create_dir(&folder), "a folder on the disk");
            own(&folder);
            match part {
                Part::Log => log = Some(folder.join("log")),
                Part::Tables => {
                    log = Some(server.folder().join("log-of-writes"));
                    data = folder.join("data");
                }
            }
            config.push_str("min_wal_size = 2MB\nmax_wal_size = 4MB\nwal_recycle = off\n");
        }
        let mut initdb = as_user(server.folder(), &programs.join("initdb"));
        if let Some(log) = log {
            initdb.args(["--wal-segsize", "1", "-X"]).arg(log);
        }
        initdb.arg("-D").arg(&data).args(["-U", USER, "-A", "trust", "-E", "UTF8"]);
        initdb.args(["--locale=C", "--no-sync", "--no-instructions"]);
        succeed(initdb);
        let folder = server.folder().display();
        must(write!(config, "port = {port}\nunix_socket_directories = '{folder}'\n"), "settings");
        let file = fs::File::options().append(true).open(data.join("postgresql.conf"));
        must(must(file, "postgresql.conf").write_all(config.as_bytes()), "postgresql.conf");
        let postgres = Self { server, programs, data, port, databases: AtomicU32::new(0) };
        postgres.begin();
        postgres
    }

    /// Starts the server after [`Postgres::kill`] and waits for nothing: it
    /// has to recover.
    pub fn begin(&self) {
        let folder = self.server.folder();
        let mut postgres = as_user(folder, &self.programs.join("postgres"));
        postgres.arg("-D").arg(&self.data);
        run(&self.server, &postgres);
    }

    /// Waits until it lets users in.
    ///
    /// # Panics
    ///
    /// When it does not within 60 s.
    pub async fn ready(&self) {
        eventually(START, "postgres is ready", async || {
            assert!(self.server.is_running(), "postgres ended: {}", self.server.log());
            accepts(self.port).unwrap_or(false)
        })
        .await;
    }
}

/// Makes the user of [`as_user`] the owner of a folder.
fn own(folder: &Path) {
    if is_root() {
        let id = |kind| {
            let mut id = Command::new("id");
            id.args([kind, USER]);
            must(succeed(id).trim().parse().map(Some), "the id of the user postgres")
        };
        must(chown(folder, id("-u"), id("-g")), "the folder");
    }
}

/// A program that refuses root, in a folder of its own.
fn as_user(folder: &Path, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    own(folder);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command.current_dir(folder);
    command
}

fn run(server: &Server, command: &Command) {
    let args: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    server.start(command.get_program(), &args);
}

/// True when the server asks for no password: it let the user in, which it
/// does not while it starts or recovers.
fn accepts(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // A startup message, protocol 3.0: its length, the version, pairs of texts.
    let mut message = vec![0, 0, 0, 0, 0, 3, 0, 0];
    message.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    message[3] = must(u8::try_from(message.len()), "a short message");
    stream.write_all(&message)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    Ok(kind == *b"R")
}

/// The folder of the newest server installed: Debian keeps one per version,
/// outside the path.
///
/// # Panics
///
/// When there is none.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .map(|version| Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    match debian.filter(|folder| folder.join("initdb").exists()).or(in_path) {
        Some(folder) => folder,
        None => panic!("PostgreSQL is not installed: ./tests/run installs it"),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
