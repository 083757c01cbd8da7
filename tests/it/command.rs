//! The `mingle` command as somebody at a terminal has it: in a folder, with an
//! environment of nothing else, and with both of its outputs.

use std::{path::Path, process::Stdio, time::Duration};

use mingle_testkit::binary;
use tokio::{process::Command, time::timeout};

const END: Duration = Duration::from_secs(60);

/// What became of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs it to its end.
pub(crate) async fn run(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(binary());
    command.args(args).env_clear().envs(env.iter().copied()).current_dir(folder);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ran = timeout(END, command.output()).await.expect("it ends within 60 s").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) }
}
