//! Which of our crates may depend on which, and what may not be in the lock
//! file.

use std::collections::{BTreeMap, BTreeSet};

/// Every crate of ours and the crates of ours that it may depend on. A new
/// crate is added here with its arrows, or the test fails.
const ARROWS: &[(&str, &[&str])] = &[
    ("mingle-proto", &[]),
    ("mingle-store", &[]),
    ("mingle-client", &["mingle-proto"]),
    ("mingle-runtime", &["mingle-proto"]),
    ("mingle-cache", SERVICE),
    ("mingle-chat", SERVICE),
    ("mingle-matchmaking", SERVICE),
    ("mingle-presence", SERVICE),
    ("mingle-ratelimit", SERVICE),
    ("mingle-gateway", &["mingle-proto", "mingle-runtime", "mingle-client"]),
    ("mingle", ALL),
    ("mingle-bench", &["mingle-proto", "mingle-client", "mingle-store", "mingle-testkit"]),
    ("mingle-testkit", &["mingle-proto"]),
    ("mingle-tests", &["mingle-proto", "mingle-client", "mingle-testkit"]),
];
const SERVICE: &[&str] = &["mingle-proto", "mingle-runtime", "mingle-store", "mingle-client"];
const ALL: &[&str] = &[
    "mingle-proto",
    "mingle-store",
    "mingle-client",
    "mingle-runtime",
    "mingle-cache",
    "mingle-chat",
    "mingle-matchmaking",
    "mingle-presence",
    "mingle-ratelimit",
    "mingle-gateway",
];

/// A dependency of one crate of ours on another.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    /// For tests only: the kit may then be used everywhere.
    pub(crate) dev: bool,
}

/// What of these dependencies is against the rules.
pub(crate) fn violations(crates: &[String], edges: &[Edge]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let unknown = crates
        .iter()
        .filter(|name| !allowed.contains_key(name.as_str()))
        .map(|name| format!("{name} has no arrows in the table"));
    let wrong = edges
        .iter()
        .filter(|edge| !(edge.dev && edge.to == "mingle-testkit"))
        .filter(|edge| {
            !allowed.get(edge.from.as_str()).is_some_and(|to| to.contains(&edge.to.as_str()))
        })
        .map(|edge| format!("{} may not depend on {}", edge.from, edge.to));
    unknown.chain(wrong).collect()
}

/// In one version, if at all.
const SINGLE: &[&str] = &["tonic", "prost", "redis", "hyper", "rustls"];
/// Not at all: ring is the one TLS provider, hyper the one HTTP client.
const FORBIDDEN: &[&str] = &["openssl-sys", "native-tls", "aws-lc-sys", "reqwest"];

/// What of this Cargo.lock is against the rules.
pub(crate) fn lock_violations(lock: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(value) = value(line, "name") {
            name = value;
        } else if let Some(version) = value(line, "version") {
            versions.entry(name).or_default().insert(version);
        }
    }
    let forbidden = FORBIDDEN
        .iter()
        .filter(|name| versions.contains_key(*name))
        .map(|name| format!("{name} is in Cargo.lock"));
    let several = SINGLE
        .iter()
        .filter_map(|name| Some((name, versions.get(name)?)))
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} is in Cargo.lock in versions {versions:?}"));
    forbidden.chain(several).collect()
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, dev: bool) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), dev }
    }

    #[test]
    fn a_service_may_not_depend_on_another() {
        let bad = [
            edge("mingle-chat", "mingle-presence", false),
            edge("mingle-chat", "mingle-matchmaking", true),
            edge("mingle-gateway", "mingle-store", false),
            edge("mingle-chat", "mingle-testkit", false),
            edge("mingle-proto", "mingle-runtime", false),
        ];
        assert_eq!(violations(&[], &bad).len(), bad.len());
        let good = [
            edge("mingle-chat", "mingle-store", false),
            edge("mingle-chat", "mingle-testkit", true),
            edge("mingle", "mingle-gateway", false),
        ];
        assert_eq!(violations(&[], &good), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_arrows_is_found() {
        let crates = ["mingle-chat", "mingle-extra"].map(str::to_owned);
        assert_eq!(violations(&crates, &[]), ["mingle-extra has no arrows in the table"]);
    }

    #[test]
    fn a_second_version_and_a_forbidden_crate_are_found() {
        let package =
            |name, version| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let good =
            package("tonic", "0.14.1") + &package("rand", "0.8.0") + &package("rand", "0.9.0");
        assert_eq!(lock_violations(&good), Vec::<String>::new());
        let bad = good + &package("tonic", "0.13.0") + &package("openssl-sys", "0.9.1");
        let found = lock_violations(&bad);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("openssl-sys") && found[1].contains("tonic"));
    }
}
