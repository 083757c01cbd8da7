//! The rules of the tree, held by a test: who imports whom, what may be in the
//! lock file, names, sizes and words. `services/README.md` says why.

mod edges;
mod layers;
mod secrets;
mod source;
mod tree;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The crates whose inside is layered.
const SERVICES: &[&str] =
    &["mingle-cache", "mingle-chat", "mingle-matchmaking", "mingle-presence", "mingle-ratelimit"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

/// Every file that is tracked or about to be, by its path from the root.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git ls-files: {}", listed.status);
    let files: Vec<String> = String::from_utf8(listed.stdout)
        .unwrap()
        .split_terminator('\0')
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect();
    assert!(files.len() > 20, "git lists the tree: {files:?}");
    files
}

#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "against the rules:\n{}", violations.join("\n"));
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let packages = metadata().packages;
    let crates: Vec<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let mut arrows = Vec::new();
    for package in &packages {
        for dependency in package.dependencies.iter().filter(|to| crates.contains(&to.name)) {
            arrows.push(edges::Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                dev: dependency.kind == DependencyKind::Development,
            });
        }
    }
    assert!(crates.len() >= 12 && arrows.len() >= crates.len(), "{crates:?}, {arrows:?}");
    assert_none(&edges::violations(&crates, &arrows));
}

#[test]
fn the_lock_file_has_no_second_version_and_no_second_tls() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"tonic\""), "the lock file is read");
    assert_none(&edges::lock_violations(&lock));
}

#[test]
fn services_import_inside_only_downwards() {
    let packages = metadata().packages;
    let mut violations = Vec::new();
    let mut seen = 0;
    for package in packages.iter().filter(|package| SERVICES.contains(&package.name.as_str())) {
        let source = package.manifest_path.as_std_path().parent().unwrap().join("src");
        let dependencies = names(package);
        for file in rust_files(&source) {
            let text = fs::read_to_string(&file).unwrap();
            let below = file.strip_prefix(&source).unwrap();
            for violation in layers::violations(below, &text, &dependencies) {
                violations.push(format!("{}/{}: {violation}", package.name, below.display()));
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "services have sources: {seen}");
    assert_none(&violations);
}

/// The crates that a package can name in its code.
fn names(package: &Package) -> Vec<String> {
    let name = |dependency: &cargo_metadata::Dependency| {
        dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_")
    };
    package.dependencies.iter().map(name).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn names_sizes_and_words_are_kept() {
    let mut violations = Vec::new();
    for path in files() {
        let bytes = fs::read(root().join(&path)).unwrap();
        let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        violations.extend(tree::violations(&path, text.as_deref()));
        if let Some(text) = text.filter(|_| path.ends_with(".rs")) {
            violations.extend(tree::nameless_modules(&path, &text));
        }
    }
    assert_none(&violations);
}

#[test]
fn secrets_of_the_configuration_are_known_by_their_names() {
    let (mut violations, mut seen) = (Vec::new(), 0);
    for path in files().into_iter().filter(|path| path.ends_with(".rs") && path.contains("/src/")) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        if text.contains("impl Section for") {
            seen += secrets::fields(&source::code(&text)).count();
        }
        violations.extend(secrets::violations(&path, &text));
    }
    assert!(seen >= 3, "there are secrets: {seen}");
    assert_none(&violations);
}
