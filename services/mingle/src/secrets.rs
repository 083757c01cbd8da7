//! Development needs no configuration: missing secrets are made up once and
//! kept in the data folder, so that tokens and sessions survive a restart.
//! Production has no defaults.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use mingle_runtime::config::{Config, Mode};
use uuid::Uuid;

/// The secrets of the gateway, each with the file it is kept in.
const SECRETS: &[(&str, &str)] = &[
    ("gateway.jwt_secret", "development-jwt-secret"),
    ("gateway.session_secret", "development-session-secret"),
];

/// `config` with the secrets that development lacks.
pub(crate) fn complete(mut config: Config, dir: &Path) -> io::Result<Config> {
    if config.mode() == Mode::Production {
        return Ok(config);
    }
    for (key, file) in SECRETS {
        if config.is_empty(key) {
            config = config.with(key, &keep(&dir.join(file))?);
        }
    }
    Ok(config)
}

/// The secret in `file`; made up and written, readable by its owner alone,
/// when there is none.
fn keep(file: &Path) -> io::Result<String> {
    match fs::read_to_string(file) {
        Ok(secret) if !secret.trim().is_empty() => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => {
            // Two random UUIDs: 244 random bits.
            let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(file)?.write_all(secret.as_bytes())?;
            Ok(secret)
        }
    }
}
