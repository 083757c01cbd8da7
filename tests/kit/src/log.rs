//! What a child process printed: kept in a file, its ready lines understood.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// Lines of the log that a failure prints.
const TAIL: usize = 200;

/// What the ready lines have said so far.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// By listener: gateway, grpc, probes, …
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    /// The whole process is ready.
    pub(crate) whole: bool,
}

/// A child's output: one file, and what its ready lines said.
#[derive(Debug)]
pub(crate) struct Log {
    file: tempfile::NamedTempFile,
    ready: Arc<Mutex<Ready>>,
    follower: Option<JoinHandle<()>>,
}

impl Log {
    /// An empty log in the folder for temporary files.
    pub(crate) fn new() -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix("mingle-").suffix(".log").tempfile()?;
        Ok(Self { file, ready: Arc::default(), follower: None })
    }

    /// A handle that appends to the file, for a child's stderr.
    pub(crate) fn appender(&self) -> io::Result<File> {
        File::options().append(true).open(self.file.path())
    }

    /// Copies `stdout` to the file until it ends, reading its ready lines, on
    /// a thread of its own: a child must never wait for its reader.
    pub(crate) fn follow(&mut self, stdout: impl Read + Send + 'static) -> io::Result<()> {
        let mut file = self.appender()?;
        let ready = Arc::clone(&self.ready);
        self.follower = Some(thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The file before the state: who sees the process ready also
                // finds the line in the log.
                let _ = writeln!(file, "{line}");
                note(&mut lock(&ready), &line);
            }
        }));
        Ok(())
    }

    /// True when what was followed has ended and is in the file.
    pub(crate) fn is_whole(&self) -> bool {
        self.follower.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The present state of the ready lines.
    pub(crate) fn ready(&self) -> MutexGuard<'_, Ready> {
        lock(&self.ready)
    }

    /// Where the file is, while this lives.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Everything printed so far.
    pub(crate) fn text(&self) -> String {
        std::fs::read(self.path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines printed.
    pub(crate) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

fn lock(ready: &Mutex<Ready>) -> MutexGuard<'_, Ready> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes in one line; lines that are not ready lines are log.
fn note(ready: &mut Ready, line: &str) {
    let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else {
        return;
    };
    let Some(name) = line["ready"].as_str() else {
        return;
    };
    match line["addr"].as_str().and_then(|addr| addr.parse().ok()) {
        Some(addr) => {
            ready.listeners.insert(name.to_owned(), addr);
        }
        None => ready.whole |= name == "mingle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_lines_are_told_from_log() {
        let mut ready = Ready::default();
        for line in [
            "starting",
            r#"{"level":"INFO","message":"opened"}"#,
            r#"{"ready":"gateway","addr":"127.0.0.1:34567"}"#,
            r#"{"ready":"grpc","addr":"[::1]:50051"}"#,
            r#"{"ready":7}"#,
        ] {
            note(&mut ready, line);
        }
        assert_eq!(ready.listeners["gateway"], SocketAddr::from(([127, 0, 0, 1], 34567)));
        assert_eq!(ready.listeners["grpc"].port(), 50051);
        assert_eq!((ready.listeners.len(), ready.whole), (2, false));
        note(&mut ready, r#"{"ready":"mingle"}"#);
        assert!(ready.whole);
    }

    #[test]
    fn the_tail_is_bounded() {
        let log = Log::new().unwrap();
        let mut file = log.appender().unwrap();
        for line in 0..1000 {
            writeln!(file, "line {line}").unwrap();
        }
        let tail = log.tail();
        assert_eq!(tail.lines().count(), TAIL);
        assert!(tail.starts_with("line 800") && tail.ends_with("line 999"));
    }
}
