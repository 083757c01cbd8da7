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

/// What users' tokens are signed with.
pub(crate) const JWT: &str = "gateway.jwt_secret";
/// What resume tokens are signed with.
pub(crate) const SESSION: &str = "gateway.session_secret";

/// The secrets of the gateway, each with the file it is kept in.
const SECRETS: &[(&str, &str)] =
    &[(JWT, "development-jwt-secret"), (SESSION, "development-session-secret")];
/// As long as one that is made up.
const STAND_IN: &str = "this is no secret: what is judged here is never used to sign anything";

/// `config` with the secrets that development lacks, made up where they are not in
/// `dir` yet.
pub(crate) fn complete(config: Config, dir: &Path) -> io::Result<Config> {
    fill(config, |file| keep(&dir.join(file)).map(Some))
}

/// `config` with the secrets that development lacks, as far as they are in `dir`.
pub(crate) fn kept(config: Config, dir: &Path) -> io::Result<Config> {
    fill(config, |file| read(&dir.join(file)))
}

fn fill(
    mut config: Config,
    find: impl Fn(&str) -> io::Result<Option<String>>,
) -> io::Result<Config> {
    if config.mode() == Mode::Production {
        return Ok(config);
    }
    for (key, file) in SECRETS {
        if config.is_empty(key)
            && let Some(secret) = find(file)?
        {
            config = config.with(key, &secret);
        }
    }
    Ok(config)
}

/// `config` with something in the place of those secrets that are missing and that
/// `pick` takes, for whoever only judges it.
pub(crate) fn assumed(mut config: Config, pick: impl Fn(&str) -> bool) -> Config {
    for (key, _) in SECRETS {
        if config.is_empty(key) && pick(key) {
            config = config.with(key, STAND_IN);
        }
    }
    config
}

/// The secret in `file`; made up and written, readable by its owner alone,
/// when there is none.
fn keep(file: &Path) -> io::Result<String> {
    if let Some(secret) = read(file)? {
        return Ok(secret);
    }
    // Two random UUIDs: 244 random bits.
    let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(secret.as_bytes())?;
    Ok(secret)
}

/// The secret in `file`, if there is one.
///
/// **Errors**: they name the file.
fn read(file: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(secret) => Ok(Some(secret.trim().to_owned()).filter(|secret| !secret.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
    }
}
