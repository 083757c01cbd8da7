//! What adopters deploy: each file is judged by the program that reads it, and what it
//! tells Mingle by Mingle itself. No image is built here, and no container runs.

mod compose;
mod kubernetes;
mod redis;
mod tools;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use mingle_testkit::{Envoy, Kind};

use crate::architecture::{files, metadata, root};

/// Who judges a file.
fn judge(path: &str) -> Option<fn(&str)> {
    Some(match path {
        ".dockerignore" => the_image_is_built_of_every_crate,
        "docker-compose.yml" => compose::is_valid,
        "deploy/Dockerfile" => the_image_has_no_faults,
        "deploy/README.md" => names_files,
        // Links are all that they name.
        "deploy/configuration.md" | "deploy/operations.md" => |_| (),
        "deploy/secrets.sh" => secrets_are_made_once,
        "deploy/envoy/envoy.yaml" | "deploy/envoy/ratelimit.yaml" => envoy_takes,
        "deploy/envoy/limits.yaml" => ratelimit_takes,
        "deploy/nginx/nginx.conf" => nginx_takes,
        "deploy/haproxy/haproxy.cfg" => haproxy_takes,
        "deploy/redis/redis.conf" => redis::is_of_the_containers,
        "deploy/redis/users.acl" => redis::users_may_do_what_mingle_does,
        "deploy/prometheus/prometheus.yml" => prometheus_takes,
        "deploy/prometheus/rules.yml" => alerts_are_of_what_there_is,
        "deploy/prometheus/rules.test.yml" => alerts_say_what_they_should,
        _ if path.starts_with(kubernetes::FOLDER) => kubernetes::is_used,
        _ => return None,
    })
}

#[test]
fn every_file_is_judged() {
    let is_deployed = |path: &String| {
        ["deploy/", "docker", ".docker"].iter().any(|begin| path.starts_with(begin))
    };
    let deployed: Vec<String> = files().into_iter().filter(is_deployed).collect();
    assert!(deployed.len() > 20, "{deployed:?}");
    for path in deployed {
        match judge(&path) {
            Some(judge) => judge(&path),
            None => panic!("nobody judges {path}"),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn the_image_has_no_faults(path: &str) {
    tools::succeed(Command::new(tools::hadolint()).arg(root().join(path)));
    let (cargo, image) = (read("Cargo.toml"), read(path));
    let version = cargo.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.unwrap().trim_matches('"');
    assert!(image.contains(&format!("FROM rust:{version}-")), "not the Rust of Cargo.toml");
}

fn the_image_is_built_of_every_crate(path: &str) {
    let text = read(path);
    let kept: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let packages = metadata().packages;
    assert!(packages.len() >= 12 && text.lines().any(|line| line == "*"));
    let root = root().canonicalize().unwrap();
    let members = packages.iter().map(|package| {
        let folder = package.manifest_path.as_std_path().parent().unwrap();
        let below = folder.strip_prefix(&root).unwrap();
        below.components().next().unwrap().as_os_str().to_str().unwrap().to_owned()
    });
    for needed in members.chain(["Cargo.toml".to_owned(), "Cargo.lock".to_owned()]) {
        assert!(kept.contains(&&*needed), "{needed} is not in the image's context");
    }
}

/// What commands are given; links are of every document.
fn names_files(path: &str) {
    let text = read(path);
    let words = text.split(|c: char| c.is_whitespace() || c == '`');
    let words = words.filter(|word| word.starts_with("deploy/") && *word != "deploy/secrets/");
    let mut named = 0;
    for name in words {
        assert!(root().join(name).exists(), "{path}: there is no {name}");
        named += 1;
    }
    assert!(named > 2, "{path}");
}

/// Files, and the headings in them.
#[test]
fn every_link_of_a_document_leads_somewhere() {
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        kept.replace(' ', "-").replace(|c: char| !c.is_alphanumeric() && c != '-', "")
    };
    let (mut followed, mut lost) = (0, Vec::new());
    for path in files().into_iter().filter(|path| path.ends_with(".md")) {
        let text = read(&path);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let own = root().join(&path);
            let file = if file.is_empty() { own } else { own.parent().unwrap().join(file) };
            let leads = heading.is_empty()
                || fs::read_to_string(&file).is_ok_and(|there| {
                    there.lines().any(|line| line.starts_with('#') && anchor(line) == heading)
                });
            followed += 1;
            if !file.exists() || !leads {
                lost.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(followed > 50 && lost.is_empty(), "{lost:?} of {followed}");
}

fn secrets_are_made_once(path: &str) {
    let folder = tempfile::tempdir().unwrap();
    let kept = "postgres://somebody@elsewhere/own";
    fs::write(folder.path().join("database_url"), kept).unwrap();
    let make = || {
        tools::succeed(Command::new(root().join(path)).arg(folder.path()));
        let mut made: Vec<(String, String)> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|file| (name(&file), fs::read_to_string(&file).unwrap()))
            .collect();
        made.sort();
        made
    };
    let made = make();
    assert_eq!(made.len(), 8, "{made:?}");
    assert_eq!(made, make(), "the second time changes nothing");
    assert_eq!(made[0], ("database_url".to_owned(), kept.to_owned()));
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

fn envoy_takes(path: &str) {
    let mut envoy = Command::new(Envoy::program());
    tools::succeed(envoy.args(["--mode", "validate", "--config-path"]).arg(root().join(path)));
}

fn ratelimit_takes(path: &str) {
    let mut mingle = Command::new(mingle_testkit::binary());
    let said = tools::succeed(mingle.args(["ratelimit", "check-config"]).arg(root().join(path)));
    assert_eq!(said, "2 limits of descriptors\n");
}

/// The balancers are judged with the addresses of a test: they look up names.
fn nginx_takes(_: &str) {
    let said = Kind::Nginx.judges();
    assert!(said.contains("test is successful") && !said.contains("[warn]"), "{said}");
}

fn haproxy_takes(_: &str) {
    let said = Kind::Haproxy.judges();
    assert!(said.contains("valid") && !said.contains("[WARNING]"), "{said}");
}

fn prometheus_takes(path: &str) {
    tools::succeed(Command::new("promtool").args(["check", "config"]).arg(root().join(path)));
}

/// Every metric of ours that an alert asks for is one that is described somewhere.
fn alerts_are_of_what_there_is(path: &str) {
    tools::succeed(Command::new("promtool").args(["check", "rules"]).arg(root().join(path)));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rules = read(path);
    let metrics = rules.split(|c| !is_name(c)).filter(|word| word.starts_with("mingle_"));
    let sources: String =
        files().iter().filter(|file| file.ends_with(".rs")).map(|file| read(file)).collect();
    for metric in metrics {
        let name = format!("\"{}\"", metric.trim_end_matches("_bucket"));
        assert!(sources.contains(&name), "{name} is no metric");
    }
}

fn alerts_say_what_they_should(path: &str) {
    tools::succeed(Command::new("promtool").args(["test", "rules"]).arg(root().join(path)));
}
