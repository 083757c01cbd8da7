//! The limits that are in force, and how others take their place.
//!
//! The files are read once a second, not watched: whether a file was written over, or
//! a symbolic link leads elsewhere (as a ConfigMap of Kubernetes does), their content
//! is another. A call sees one catalogue from its begin to its end.
//!
//! | what fails | what follows |
//! | --- | --- |
//! | a file is broken, missing, or half written | what was in force stays; `mingle_ratelimit_config_errors_total`, one line in the log, and again when it is another one |
//! | the files change between two reads of one | the next second sees another content |
//! | instances read at different seconds | for so long each counts by its own: replies say which version |
//! | a limit has another quota, window or burst | its counts stand, and are judged by the new numbers |
//! | a limit has another algorithm | its counts begin anew, but between sliding_window and concurrency, and between gcra and token_bucket, which keep them |
//! | a window is longer or shorter, or a quota passes 256 | what was counted coarsely counts from the begin of its grain: up to a 64th of the old window may be free early |
//! | a limit is gone | calls that name it are INVALID_ARGUMENT; what was charged to it ends by itself |

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mingle_runtime::config::{Config as Layers, Problems};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest as _, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};

use crate::{
    Config, descriptors,
    domain::{Limits, Rules},
};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// What calls are judged by.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) limits: Arc<Limits>,
    pub(crate) rules: Rules,
    /// Tells one from another, the same in every process that has the same limits.
    pub(crate) version: String,
    /// The same, as replies carry it.
    pub(crate) mark: MetadataValue<Ascii>,
    /// Where the rules are.
    folder: Option<PathBuf>,
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// What is configured is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The rules for descriptors are.
    #[error(transparent)]
    Rules(#[from] descriptors::Problems),
}

impl Catalogue {
    fn read(config: &Config) -> Result<Self, Unusable> {
        let folder = config.descriptors().map(PathBuf::from);
        let rules = folder.as_deref().map(descriptors::read).transpose()?.unwrap_or_default();
        let limits = Arc::new(config.limits());
        let hash = Sha256::new().chain_update(format!("{limits:?}")).chain_update(rules.digest());
        let hash = hash.finalize();
        let version: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        // Digits of a number are such a value.
        let mark = version.parse().unwrap_or_else(|_| MetadataValue::from_static(""));
        Ok(Self { limits, rules, version, mark, folder })
    }
}

/// The catalogue that is in force. Clones share it.
#[derive(Clone)]
pub(crate) struct Current {
    now: Arc<RwLock<Arc<Catalogue>>>,
    layers: Arc<Layers>,
    /// One at a time: an older content must not come after a newer one.
    turn: Arc<Mutex<()>>,
}

impl Current {
    /// What is configured at the start.
    pub(crate) fn read(layers: &Layers, config: &Config) -> Result<Self, Unusable> {
        let catalogue = Arc::new(Catalogue::read(config)?);
        metrics::gauge!(VERSION, "version" => catalogue.version.clone()).set(1);
        let now = Arc::new(RwLock::new(catalogue));
        Ok(Self { now, layers: Arc::new(layers.clone()), turn: Arc::default() })
    }

    /// What a call is judged by, from its begin to its end.
    pub(crate) fn get(&self) -> Arc<Catalogue> {
        self.now.read().clone()
    }

    /// Reads the files; what was in force stays when they cannot be used.
    pub(crate) fn reload(&self) -> Result<Arc<Catalogue>, Unusable> {
        let _turn = self.turn.lock();
        let config = self.layers.again().and_then(|layers| layers.read::<Config>());
        let read = config.map_err(Unusable::from).and_then(|config| Catalogue::read(&config));
        let new = Arc::new(read.inspect_err(|error| {
            metrics::counter!(ERRORS).increment(1);
            tracing::error!(%error, "the limits stay as they were");
        })?);
        let old = std::mem::replace(&mut *self.now.write(), new.clone());
        if old.version != new.version {
            metrics::gauge!(VERSION, "version" => old.version.clone()).set(0);
            metrics::gauge!(VERSION, "version" => new.version.clone()).set(1);
            tracing::info!(old = old.version, new = new.version, "other limits are in force");
        }
        Ok(new)
    }

    /// Reloads whenever a file is another than before, until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first look reads them again: they may have changed since the start.
        let mut seen = [0; 32];
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let content = content(this.layers.file(), this.get().folder.as_deref());
                if content != seen {
                    // It is told where it fails.
                    let _ = this.reload();
                }
                content
            });
            seen = looked.await.unwrap_or(seen);
        }
    }
}

/// A digest of all files, and of which of them cannot be read.
fn content(file: Option<&Path>, folder: Option<&Path>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let rules = folder.and_then(|folder| descriptors::files(folder).ok()).unwrap_or_default();
    for file in file.map(PathBuf::from).into_iter().chain(rules) {
        hash.update(file.as_os_str().as_encoded_bytes());
        match std::fs::read(&file) {
            Ok(bytes) => hash.update(Sha256::digest(bytes)),
            Err(error) => hash.update(error.to_string()),
        }
    }
    hash.finalize().into()
}

const VERSION: &str = "mingle_ratelimit_config_info";
const ERRORS: &str = "mingle_ratelimit_config_errors_total";

/// Describes the metrics.
pub(crate) fn describe() {
    metrics::describe_gauge!(VERSION, "1 for the version of the limits that is in force");
    metrics::describe_counter!(ERRORS, "files of limits that could not be used");
}
