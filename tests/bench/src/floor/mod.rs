//! The least that the same work costs: bare servers, bare commits.

pub(crate) mod echo;
pub(crate) mod hops;
pub(crate) mod postgres;
pub(crate) mod rooms;
pub(crate) mod rows;
pub(crate) mod script;
pub(crate) mod sqlite;
mod unary;
pub(crate) mod ws;

use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
};

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;

use crate::{child::Child, plan::Plan};

/// The name in the ready lines of the servers here.
const READY: &str = "floor";

/// A server of this module, in a process of its own.
pub(crate) struct Server {
    child: Child,
    _log: TempDir,
}

impl Server {
    /// Starts this program again with a hidden command, and what that takes.
    pub(crate) async fn start(plan: &Plan, command: &[&str]) -> anyhow::Result<Self> {
        let program = env::current_exe().context("where this program is")?;
        let folder = plan.data_folder()?;
        let ready = (READY, folder.path().join("log"));
        let child = Child::start(&program, command, &[], ready).await?;
        Ok(Self { child, _log: folder })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> anyhow::Result<SocketAddr> {
        self.child.addr(READY)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Kills it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.child.stop().await
    }
}

fn say_ready(addr: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({"ready": READY, "addr": addr.to_string()}))?;
    out.flush()
}
