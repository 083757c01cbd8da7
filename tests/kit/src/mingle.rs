//! The `mingle` command as a child process on free ports.

use crate::{binary, clock, eventually, log::Log, secret, server::must};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How long a start may take on a busy machine before it counts as failed.
const START: Duration = Duration::from_secs(60);

/// What a child inherits; the rest of the environment, with any MINGLE_*,
/// REDIS_* or DATABASE_URL of the machine, stays out of the test.
const INHERITED: &[&str] = &["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE", "RUST_LOG"];

/// Quotas of what tests do more often than people may, unless they say so.
const QUOTAS: &[&str] = &[
    "MINGLE_RATELIMIT__LIMITS__CHAT_MESSAGE__QUOTA",
    "MINGLE_RATELIMIT__LIMITS__QUEUE_JOIN__QUOTA",
    "MINGLE_RATELIMIT__LIMITS__AUTH__QUOTA",
    "MINGLE_RATELIMIT__LIMITS__API__QUOTA",
    "MINGLE_CHAT__LIMIT__QUOTA",
    "MINGLE_MATCHMAKING__LIMIT__QUOTA",
    "MINGLE_GATEWAY__CLASSES__AUTH__QUOTA",
    "MINGLE_GATEWAY__CLASSES__API__QUOTA",
];
/// More than any test does.
const UNMET: &str = "1000000";

/// What is counted together is not decided alone because a machine is busy. A
/// test of an outage sets back what it is about.
const PATIENCE: &[(&str, &str)] =
    &[("MINGLE_PEERS__RATELIMIT_DEADLINE_MS", "5000"), ("MINGLE_RATELIMIT__TIMEOUT_MS", "2000")];

/// How to start a [`Mingle`].
#[derive(Debug, Default)]
pub struct Builder {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    data_dir: Option<PathBuf>,
    program: Option<PathBuf>,
}

impl Builder {
    /// Adds an argument to the command line. Without any the command runs all
    /// roles in one process.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable of the child, over the kit's own.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Sets the clock of the child so many seconds ahead of the machine's, or
    /// behind; for one that ends by itself.
    ///
    /// # Panics
    ///
    /// When libfaketime is not installed.
    #[must_use]
    pub fn ahead_by(self, seconds: i64) -> Self {
        clock::ahead_by(seconds).into_iter().fold(self, |it, (key, value)| it.env(key, value))
    }

    /// Keeps the data in this folder, which outlives the process. Without it
    /// the folder is a temporary one that goes with the [`Mingle`].
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(folder.into());
        self
    }

    /// Runs this program in place of the built `mingle`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts the process and waits until the whole of it is ready.
    ///
    /// # Panics
    ///
    /// With the log, when it exits or is not ready within 60 s.
    pub async fn start(self) -> Mingle {
        let mut mingle = self.spawn();
        mingle.ready().await;
        mingle
    }

    /// Starts the process and waits until it exits by itself, for starts that
    /// must be refused.
    ///
    /// # Panics
    ///
    /// With the log, when it is still there after `deadline`.
    pub async fn run_to_end(self, deadline: Duration) -> Finished {
        let mut mingle = self.spawn();
        let status = mingle.exit(deadline).await;
        Finished { status, log: mingle.log() }
    }

    /// Starts the process and waits for nothing.
    pub(crate) fn spawn(self) -> Mingle {
        let program = self.program.unwrap_or_else(|| binary().to_owned());
        let (data_dir, temporary) = match self.data_dir {
            Some(folder) => (folder, None),
            None => {
                let folder = must(tempfile::tempdir(), "a temporary folder");
                (folder.path().to_owned(), Some(folder))
            }
        };
        let mut log = must(Log::new(), "a log file");
        let secrets = secret::among(&self.env);
        let mut command = Command::new(&program);
        command
            .env_clear()
            .envs(INHERITED.iter().filter_map(|key| Some((key, std::env::var_os(key)?))))
            .env("MINGLE_GATEWAY__LISTEN", "127.0.0.1:0")
            .env("MINGLE_GRPC__LISTEN", "127.0.0.1:0")
            .env("MINGLE_PROBES__LISTEN", "127.0.0.1:0")
            .env("MINGLE_DATA__DIR", &data_dir)
            .envs(QUOTAS.iter().map(|key| (key, UNMET)))
            .envs(PATIENCE.iter().copied())
            // On a busy machine no answer in time says nothing.
            .env("MINGLE_GATEWAY__CLASSES__AUTH__OUTAGE", "local")
            .envs(self.env)
            .args(self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(must(log.appender(), "the log file"));
        let mut child = must(command.spawn(), &program.display().to_string());
        if let Some(stdout) = child.stdout.take() {
            must(log.follow(stdout), "the log file");
        }
        Mingle { child, log, secrets, data_dir, _temporary: temporary }
    }
}

/// How a process ended that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed, stdout and stderr.
    pub log: String,
}

/// A running `mingle`, killed by its process id when this is dropped. When the
/// test is failing then, the end of its log is printed.
#[derive(Debug)]
pub struct Mingle {
    child: Child,
    log: Log,
    /// What its log may not hold.
    secrets: Vec<String>,
    data_dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Mingle {
    /// Starts everything in one process on a temporary data folder.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// How to start one otherwise.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Waits until the whole of it is ready.
    pub(crate) async fn ready(&mut self) {
        eventually(START, "mingle is ready", async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("mingle exited before it was ready: {status}");
            }
            self.log.ready().whole
        })
        .await;
    }

    /// Where the gateway listens (HTTP and WebSocket).
    ///
    /// # Panics
    ///
    /// When the process has no gateway.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.addr("gateway")
    }

    /// Where the gRPC services listen.
    ///
    /// # Panics
    ///
    /// When the process has no such listener.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.addr("grpc")
    }

    /// Where probes and metrics are served.
    ///
    /// # Panics
    ///
    /// When the process has no such listener.
    #[must_use]
    pub fn probes_addr(&self) -> SocketAddr {
        self.addr("probes")
    }

    /// Where the listener of this name is, as its ready line said.
    ///
    /// # Panics
    ///
    /// When the process has no such listener.
    #[must_use]
    pub fn addr(&self, listener: &str) -> SocketAddr {
        let ready = self.log.ready();
        match ready.listeners.get(listener) {
            Some(addr) => *addr,
            None => panic!("no listener {listener} among {:?}", ready.listeners),
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What it printed so far, stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Resident memory in KiB, as the kernel counts it.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it ever was.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn peak_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = must(std::fs::read_to_string(&path), &path);
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix(which))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        match kib {
            Some(kib) => kib,
            None => panic!("{path} has no {which} the process is gone"),
        }
    }

    /// How the process ended by itself, or where it panicked, if it did.
    pub(crate) fn fallen(&mut self) -> Option<String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(format!("ended by itself: {status}\n{}", self.log.tail()));
        }
        let log = self.log.text();
        log.lines().find(|line| line.contains("panicked at")).map(str::to_owned)
    }

    /// Asks the process to stop and does not wait; [`Mingle::exit`] does.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Asks the process to stop and waits until it has.
    ///
    /// # Panics
    ///
    /// When it is still there after `deadline`.
    pub async fn sigterm(&mut self, deadline: Duration) -> ExitStatus {
        self.terminate();
        self.exit(deadline).await
    }

    /// Kills the process, which learns nothing of it, and reaps it.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        must(self.child.wait(), "the child's status");
    }

    /// How the process ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        must(self.child.try_wait(), "its status")
    }

    /// Stops the process (SIGSTOP): connections stay open, new ones are taken
    /// by the kernel, and nothing answers.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Ends what [`Mingle::freeze`] began.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Waits until the process has exited and its log is whole.
    ///
    /// # Panics
    ///
    /// When it is still there after `deadline`.
    pub async fn exit(&mut self, deadline: Duration) -> ExitStatus {
        let Self { child, log, .. } = self;
        eventually(deadline, "mingle exits", async || {
            must(child.try_wait(), "its status").filter(|_| log.is_whole())
        })
        .await
    }

    /// Sends a signal, if the process has not been reaped: its id may belong
    /// to another process by then.
    fn signal(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait() {
            let pid = Pid::from_child(&self.child);
            must(kill_process(pid, signal), "the signal");
        }
    }
}

impl Drop for Mingle {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- log of mingle, process {} ---\n{}", self.pid(), self.log.tail());
            eprintln!("--- end of log ---");
        } else if let Some(line) = secret::leaked(&self.log.text(), &self.secrets) {
            panic!("mingle printed a secret: {line}");
        }
    }
}
