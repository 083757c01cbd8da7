//! Programs that `tests/run` installs: where they are.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A file of a package in the folder that `tests/run` keeps for the tests, such as
/// `rotel-0.0.1a15/rotel/rotel-agent`.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn installed(path: &str) -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let cache = cache.map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    there(cache.join("mingle-tests").join(path))
}

/// A server of Debian, which may be outside the path of a user.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn server_program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|it| it.is_file());
    there(found.unwrap_or_else(|| Path::new("/usr/sbin").join(name)))
}

fn there(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{}: ./tests/run installs it", path.display());
    path
}
