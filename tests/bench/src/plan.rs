//! What all measurements are told.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// The server under test, where its data goes, how often to measure.
pub(crate) struct Plan {
    /// The server.
    pub(crate) binary: PathBuf,
    dir: PathBuf,
    rounds: Option<u32>,
}

impl Plan {
    /// **Errors**: when the server or the folder is not there.
    pub(crate) fn new(
        binary: Option<PathBuf>,
        dir: Option<PathBuf>,
        rounds: Option<u32>,
    ) -> anyhow::Result<Self> {
        let binary = match binary {
            Some(binary) => binary,
            None => env::current_exe().context("where this program is")?.with_file_name("mingle"),
        };
        ensure!(binary.is_file(), "--binary: {} is not a file", binary.display());
        let dir = dir.unwrap_or_else(env::temp_dir);
        ensure!(dir.is_dir(), "--dir: {} is not a folder", dir.display());
        Ok(Self { binary, dir, rounds })
    }

    /// Pairs of runs.
    pub(crate) fn rounds(&self, default: u32) -> u32 {
        self.rounds.unwrap_or(default)
    }

    /// Where data folders are made.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A data folder that goes with its handle.
    pub(crate) fn data_folder(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("mingle-bench-").tempdir_in(&self.dir);
        folder.with_context(|| format!("a folder in {}", self.dir.display()))
    }
}
