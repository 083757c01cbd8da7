//! Libraries of the npm registry, in a process of Node of their own.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use mingle_testkit as kit;
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    load::Load,
    report::{Report, Side},
};

/// A package with its lock, and the script that uses it.
pub(crate) struct Package {
    pub(crate) package: &'static str,
    pub(crate) lock: &'static str,
    pub(crate) script: &'static str,
}

/// What one of those did that are compared.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Did {
    rate: f64,
    cpu_us: f64,
    p50: f64,
    p99: f64,
}

impl Did {
    pub(crate) fn of(load: &Load) -> Self {
        let at = |q| load.latencies().quantile_ms(q);
        Self { rate: load.rate(), cpu_us: load.cpu_us(), p50: at(0.5), p99: at(0.99) }
    }

    /// Adds it; `unit` is what it did so many of.
    pub(crate) fn report(self, report: &mut Report, side: Side, (name, unit): (&str, &str)) {
        report.add(&format!("{name}: CPU each"), "µs", side, self.cpu_us);
        report.add(&format!("{name}: {unit}"), "1/s", side, self.rate);
        report.add(&format!("{name}: p50"), "ms", side, self.p50);
        report.add(&format!("{name}: p99"), "ms", side, self.p99);
    }
}

impl Package {
    /// Installs it in a folder; tells its versions.
    pub(crate) async fn install(&self, folder: &Path) -> anyhow::Result<String> {
        let files = [
            ("package.json", self.package),
            ("package-lock.json", self.lock),
            ("run.mjs", self.script),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
        let done = npm.current_dir(folder).output().await.context("npm")?;
        ensure!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&done.stderr));
        let package: serde_json::Value = serde_json::from_str(self.package)?;
        let node = Command::new("node").arg("--version").output().await.context("node")?;
        let node = String::from_utf8_lossy(&node.stdout);
        Ok(format!("{}, Node {}", package["dependencies"], node.trim()))
    }
}

/// What the script of a folder says that it did.
pub(crate) async fn run(
    folder: &Path,
    redis: &kit::Redis,
    arguments: &[String],
) -> anyhow::Result<Did> {
    let mut node = Command::new("node");
    node.arg("run.mjs").args(arguments).current_dir(folder);
    let done = node.env("REDIS_URL", redis.root_url()).output().await.context("node")?;
    ensure!(done.status.success(), "node: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}
