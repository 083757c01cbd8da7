//! A server as a child process that says on its standard output where it
//! listens: `{"ready": <name>, "addr": <address>}` per listener.

use std::{
    collections::HashMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{ChildStdout, Command},
    time::timeout,
};

const START: Duration = Duration::from_secs(60);
/// What the child inherits: any configuration of ours in the environment stays
/// out of the measurement.
const INHERITED: &[&str] = &["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"];
/// Of the log, when the start fails.
const LOG_TAIL: usize = 4000;

/// A running server, killed when this is dropped.
pub(crate) struct Child {
    child: tokio::process::Child,
    pid: u32,
    listeners: HashMap<String, SocketAddr>,
}

impl Child {
    /// Starts `program` and waits until it says that `whole` is ready. What it
    /// logs goes to the file `log`.
    ///
    /// **Errors**: with the end of the log, when it ends before, or is not ready
    /// within a minute.
    pub(crate) async fn start(
        program: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
        (whole, log): (&str, PathBuf),
    ) -> anyhow::Result<Self> {
        let stderr = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let inherited = INHERITED.iter().filter_map(|key| Some((key, env::var_os(key)?)));
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(inherited)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("the child has no standard output")?;
        let pid = child.id().context("the child ended")?;
        let mut lines = BufReader::new(stdout).lines();
        let listeners = match timeout(START, ready(&mut lines, whole)).await {
            Ok(Ok(listeners)) => listeners,
            Ok(Err(error)) => return Err(error.context(tail(&log))),
            Err(_) => return Err(anyhow!("not ready within {START:?}").context(tail(&log))),
        };
        // What it says later is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, pid, listeners })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Where the listener of this name is.
    pub(crate) fn addr(&self, listener: &str) -> anyhow::Result<SocketAddr> {
        self.listeners.get(listener).copied().with_context(|| format!("no listener {listener}"))
    }

    /// Kills it and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot stop the server")
    }
}

async fn ready(
    lines: &mut Lines<BufReader<ChildStdout>>,
    whole: &str,
) -> anyhow::Result<HashMap<String, SocketAddr>> {
    let mut listeners = HashMap::new();
    while let Some(line) = lines.next_line().await.context("its standard output")? {
        let Some((name, addr)) = parse(&line) else { continue };
        listeners.extend(addr.map(|addr| (name.clone(), addr)));
        if name == whole {
            return Ok(listeners);
        }
    }
    bail!("it ended before it was ready")
}

/// The name and, of a listener, the address in a ready line.
fn parse(line: &str) -> Option<(String, Option<SocketAddr>)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let name = line.get("ready")?.as_str()?.to_owned();
    let addr = line.get("addr").and_then(Value::as_str).and_then(|addr| addr.parse().ok());
    Some((name, addr))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let from = text.char_indices().rev().nth(LOG_TAIL).map_or(0, |(at, _)| at);
    format!("the server did not start; its log ends:\n{}", &text[from..])
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ready_lines_are_told_from_others() {
        let listener = parse(r#"{"ready":"gateway","addr":"127.0.0.1:80"}"#).unwrap();
        assert_eq!(listener, ("gateway".to_owned(), Some("127.0.0.1:80".parse().unwrap())));
        assert_eq!(parse(r#"{"ready":"mingle"}"#).unwrap(), ("mingle".to_owned(), None));
        assert_eq!(parse("listening on 127.0.0.1:80"), None);
        assert_eq!(parse(r#"{"level":"info"}"#), None);
    }
}
