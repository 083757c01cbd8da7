//! The binary under test, built by the test itself so that it is never stale.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// How the names of variables begin that cargo sets for one package.
const OF_A_PACKAGE: [&str; 4] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_PRIMARY_PACKAGE"];

/// The path of the `mingle` command, built from the present sources once per
/// test process: in the dev profile, or in release when the environment says
/// `MINGLE_TEST_PROFILE=release`.
///
/// Blocks while cargo builds.
///
/// # Panics
///
/// When the build fails: its messages are on stderr.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "mingle", "--bin", "mingle"])
        .args(["--features", "failpoints"])
        .arg("--message-format=json-render-diagnostics")
        // In the test's own folder, where cargo finds the workspace: that this
        // crate was compiled in may be another copy with the same target folder.
        .stderr(Stdio::inherit());
    // What cargo tells a test of its own package, build scripts would take for a
    // change, and crates such as ring would be built again.
    for (name, _) in env::vars_os() {
        if OF_A_PACKAGE.iter().any(|of| name.to_string_lossy().starts_with(of)) {
            command.env_remove(name);
        }
    }
    if env::var_os("MINGLE_TEST_PROFILE").is_some_and(|profile| profile == "release") {
        command.arg("--release");
    }
    let built = match command.output() {
        Ok(built) => built,
        Err(error) => panic!("cargo could not be started: {error}"),
    };
    assert!(built.status.success(), "cargo build of mingle: {}", built.status);
    match executable(&String::from_utf8_lossy(&built.stdout)) {
        Some(path) => path,
        None => panic!("cargo built no executable named mingle"),
    }
}

/// The executable named `mingle` among cargo's JSON messages, one a line.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "mingle")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"mingle-chat"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"mingle-bench"},"executable":"/t/bench"}
            {"reason":"compiler-artifact","target":{"name":"mingle"},"executable":"/t/debug/mingle"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/mingle")));
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
