//! What the command says: one machine-readable line per listener on standard
//! output, and words for a person on standard error.

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use mingle_runtime::config::Mode;
use serde_json::json;

/// Announces listeners as they open, and the process when it is ready.
pub(crate) struct Announcer {
    mode: Mode,
    /// Where the data is, when it is this process's.
    dir: Option<PathBuf>,
    gateway: Option<SocketAddr>,
}

impl Announcer {
    /// For a process in `mode` whose data is in `dir`, or shared.
    pub(crate) fn new(mode: Mode, dir: Option<&Path>) -> Self {
        Self { mode, dir: dir.map(Path::to_owned), gateway: None }
    }

    /// As the process wants it: a name and its address, then no name at all.
    pub(crate) fn into_callback(mut self) -> impl FnMut(&str, Option<SocketAddr>) {
        move |name, address| match address {
            Some(address) => {
                if name == "gateway" {
                    self.gateway = Some(address);
                }
                say(&json!({"ready": name, "addr": address.to_string()}).to_string());
            }
            None => {
                say(&json!({"ready": "mingle"}).to_string());
                self.greet();
            }
        }
    }

    fn greet(&self) {
        let Some(address) = self.gateway else { return };
        if self.mode == Mode::Production && !std::io::stderr().is_terminal() {
            return;
        }
        if address.ip().is_loopback() {
            eprintln!("\n  Open http://{address}/ in two tabs and press \"Find someone\" in both.");
        } else {
            eprintln!("\n  Serving on {address}, also beyond this machine.");
        }
        if let Some(dir) = &self.dir {
            eprintln!("  What is said is kept in {}.", dir.join("mingle.db").display());
        }
        match (self.mode, address.ip().is_loopback()) {
            (Mode::Production, _) => {}
            (Mode::Development, true) => {
                eprintln!(
                    "  Development mode: anybody here gets a token. MINGLE_ENV=production refuses that."
                );
            }
            (Mode::Development, false) => eprintln!(
                "  Development mode: no tokens are handed out beyond this machine, unless\n  \
                 MINGLE_GATEWAY__DEV_TOKENS_BEYOND_LOOPBACK=true."
            ),
        }
        eprintln!();
    }
}

/// One line for programs. Whoever closed our standard output does not want it.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Why the command failed, with its causes.
pub(crate) fn failure(error: &anyhow::Error) {
    eprintln!("mingle: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
