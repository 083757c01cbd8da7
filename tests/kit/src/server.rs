//! A server of the machine (redis-server, postgres) as a child that cannot
//! outlive the test process, not even when that is killed.
//!
//! Between the two stands a keeper, `keeper.sh`, which waits for the end of a
//! pipe that only the test process holds. When it comes, by whatever death of
//! the test process, the keeper ends the server, frozen or not, and removes its
//! folder. The keeper is the server's parent and never reaps it while the pipe
//! is open, so the server's process id belongs to no other process meanwhile.

use crate::eventually::eventually_blocking;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

const KEEPER: &str = include_str!("keeper.sh");
/// Lines of the log that a failing test prints.
const TAIL: usize = 60;
/// A signal that has no effect for this long never will.
const SIGNAL: Duration = Duration::from_secs(30);
/// Below those that Linux gives to outgoing connections.
const PORTS: Range<u16> = 20_000..32_000;

/// A server process with a folder of its own and its faults.
///
/// Dropped, or when the test process ends, the server is ended and the folder
/// removed. While a test is failing the end of its log is printed.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    folder: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    keeper: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: Option<Pid>,
}

/// What one line of `/proc/<pid>/stat` says.
struct Process {
    pid: Pid,
    parent: i32,
    state: u8,
}

impl Server {
    /// An empty folder and its keeper; no server yet.
    ///
    /// `end` is the signal that ends the server in good order, named as `kill`
    /// names it ("QUIT"); what does not end of it within 5 s is killed.
    ///
    /// # Panics
    ///
    /// When the folder or the keeper cannot be made.
    #[must_use]
    pub fn prepare(name: &'static str, end: &str) -> Self {
        let prefix = format!("mingle-{name}-");
        let folder = must(tempfile::Builder::new().prefix(&prefix).tempdir(), "a folder").keep();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "mingle-keeper"]).arg(&folder).arg(end);
        // Its own process group: an interrupt at the terminal is for the test.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = must(command.spawn(), "the keeper");
        let (orders, answers) = match (keeper.stdin.take(), keeper.stdout.take()) {
            (Some(orders), Some(answers)) => (Some(orders), BufReader::new(answers)),
            _ => panic!("the keeper has no pipes"),
        };
        let kept = Mutex::new(Kept { keeper, orders, answers, pid: None });
        Self { name, folder, kept }
    }

    /// The server's folder, removed when it ends.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server: `program` in its folder with these arguments, its
    /// output in the log. It is not ready yet: ask it until it answers. A
    /// program that executes another in its place (`setpriv`) is as good.
    ///
    /// # Panics
    ///
    /// When a server runs already, or the keeper is gone.
    pub fn start(&self, program: &OsStr, args: &[OsString]) {
        let mut kept = self.kept();
        assert!(kept.pid.is_none_or(is_gone), "{} runs already", self.name);
        let mut script = b"exec".to_vec();
        for word in std::iter::once(program).chain(args.iter().map(OsString::as_os_str)) {
            script.extend_from_slice(b" ");
            script.extend_from_slice(&quoted(word));
        }
        script.push(b'\n');
        must(fs::write(self.folder.join("start"), script), "the start script");
        if let Some(orders) = &mut kept.orders {
            must(orders.write_all(b"start\n"), "the keeper's pipe");
        }
        let mut answer = String::new();
        must(kept.answers.read_line(&mut answer), "the keeper's answer");
        kept.pid = answer.trim().parse().ok().and_then(Pid::from_raw);
        assert!(kept.pid.is_some(), "the keeper of {} answered {answer:?}", self.name);
    }

    /// The server's process id.
    ///
    /// # Panics
    ///
    /// When no server was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().as_raw_nonzero().get().unsigned_abs()
    }

    /// True while the process is there, frozen or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.kept().pid.is_some_and(|pid| !is_gone(pid))
    }

    /// True between [`Server::freeze`] and [`Server::thaw`].
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let state = self.kept().pid.and_then(stat).map(|process| process.state);
        state == Some(b'T')
    }

    /// Stops the process and its children (SIGSTOP): connections stay open and
    /// nothing answers. Returns when all stand still.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn freeze(&self) {
        let server = self.process();
        assert!(self.is_running(), "{} is gone", self.name);
        let what = format!("{} stands still", self.name);
        let mut still = 0;
        eventually_blocking(SIGNAL, &what, || {
            let moves = |process: &Process| !matches!(process.state, b'T' | b'Z' | b'X');
            let moving: Vec<_> = family(server).into_iter().filter(moves).collect();
            // The server alone, while it moves: it starts no child afterwards, and one that
            // shares a child's memory (vfork) stands only when that child has gone on.
            let server_moves = moving.first().is_some_and(|process| process.pid == server);
            let first = if server_moves { &moving[..1] } else { &moving };
            first.iter().for_each(|process| send(process.pid, Signal::STOP));
            // One that was born while the last look went by is in the next.
            still = if moving.is_empty() { still + 1 } else { 0 };
            still == 2
        });
    }

    /// Ends what [`Server::freeze`] began.
    pub fn thaw(&self) {
        for process in family(self.process()).iter().rev() {
            send(process.pid, Signal::CONT);
        }
    }

    /// Kills the process and its children, which learn nothing of it, and
    /// returns when they are gone. The folder stays: [`Server::start`] starts
    /// it again. Nothing happens when it is gone already.
    pub fn kill(&self) {
        if self.is_running() {
            let server = self.process();
            self.freeze();
            let family = family(server);
            for process in family.iter().rev() {
                send(process.pid, Signal::KILL);
            }
            let what = format!("{} is gone", self.name);
            eventually_blocking(SIGNAL, &what, || {
                family.iter().all(|process| is_gone(process.pid))
            });
        }
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> Pid {
        match self.kept().pid {
            Some(pid) => pid,
            None => panic!("{} was not started", self.name),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            eprintln!("--- log of {} ---\n{tail}\n--- end of log ---", self.name);
        }
        let mut kept = self.kept();
        kept.orders = None;
        let _ = kept.keeper.wait();
    }
}

/// A TCP port of 127.0.0.1 that nothing listens on at the moment, another one
/// at each call. It is none of those that the kernel gives to connections, so
/// that a server can be started on it again later.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(61);
    let free = (0..PORTS.len()).find_map(|_| {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(next % u32::from(PORTS.end - PORTS.start)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    });
    match free {
        Some(port) => port,
        None => panic!("no port of {PORTS:?} is free"),
    }
}

/// A word that a shell reads as itself.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The process and its children, itself first; empty when it is gone.
fn family(server: Pid) -> Vec<Process> {
    let number = server.as_raw_nonzero().get();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut family: Vec<Process> = entries
        .filter_map(|entry| stat(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?))
        .filter(|process| process.pid == server || process.parent == number)
        .collect();
    family.sort_by_key(|process| process.pid != server);
    family
}

/// True when the process is no more, reaped or not: with all its threads, since
/// the last of them closes what it listens on.
fn is_gone(pid: Pid) -> bool {
    let threads = || fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    stat(pid).is_none_or(|process| {
        matches!(process.state, b'Z' | b'X') && threads().map_or(0, Iterator::count) <= 1
    })
}

/// The name, in brackets, may itself hold brackets and spaces: what counts
/// stands behind the last.
fn stat(pid: Pid) -> Option<Process> {
    let line = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&line[end + 1..]).ok()?;
    let mut fields = rest.split_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some(Process { pid, parent: fields.next()?.parse().ok()?, state })
}

/// A process that is gone meanwhile needs no signal.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// Runs a command to its end and returns what it printed on stdout.
pub(crate) fn succeed(mut command: Command) -> String {
    let done = must(command.output(), &format!("{command:?}"));
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}: {errors}", done.status);
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The value, or the failure of the test with what was wanted.
#[track_caller]
pub(crate) fn must<T, E: std::fmt::Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}
