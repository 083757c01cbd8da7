//! What Redis says that it executed, with its own times.

use std::process::Stdio;

use mingle_testkit::Redis;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

const END: &str = "END OF THE LOG";

/// A reader of MONITOR.
pub(crate) struct Monitor {
    child: Child,
    reading: JoinHandle<Vec<Executed>>,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Seconds since 1970 of the server's clock.
    pub(crate) at: f64,
    /// A script did it; the command that ran the script stands before it.
    pub(crate) is_nested: bool,
    /// The command and its arguments, each in quotes.
    pub(crate) text: String,
}

impl Executed {
    fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.split_once(" [")?;
        let (from, text) = rest.split_once("] ")?;
        let is_nested = from.ends_with(" lua");
        Some(Self { at: at.parse().ok()?, is_nested, text: text.to_owned() })
    }

    /// The command, in capitals.
    pub(crate) fn name(&self) -> String {
        self.text.split('"').nth(1).unwrap_or_default().to_uppercase()
    }

    /// When whoever ran a script gave up, in seconds since 1970.
    pub(crate) fn not_after(&self) -> Option<f64> {
        let scripts = ["EVALSHA", "EVAL"];
        let millis = self.text.strip_suffix(" \"\"")?.rsplit(' ').next()?.trim_matches('"');
        let is_script = !self.is_nested && scripts.contains(&self.name().as_str());
        is_script.then(|| millis.parse::<f64>().ok()).flatten().map(|millis| millis / 1000.0)
    }
}

impl Monitor {
    pub(crate) async fn start(redis: &Redis) -> Self {
        let mut command = Command::new("redis-cli");
        command.args(["-u", &redis.root_url(), "MONITOR"]);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("OK"));
        let reading = tokio::spawn(async move {
            let mut executed = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await
                && !line.contains(END)
            {
                executed.push(Executed::parse(&line).unwrap_or_else(|| panic!("{line}")));
            }
            executed
        });
        Self { child, reading }
    }

    /// All that was executed until now.
    pub(crate) async fn end(mut self, redis: &Redis) -> Vec<Executed> {
        assert_eq!(redis.cli(&["ECHO", END]), END);
        let executed = self.reading.await.unwrap();
        self.child.kill().await.unwrap();
        executed
    }
}
