//! Who may import whom inside a service:
//! `lib -> service -> {wire, domain, store}; store -> domain;
//! wire -> {proto, domain}; domain -> std`.

use super::source;
use std::path::Path;

/// A module of a service that stands below the service itself. Every other
/// module (service, its tasks, its configuration) may import all of them and
/// is imported by none.
struct Layer {
    module: &'static str,
    /// Modules of the same crate that it may import, beside its own.
    modules: &'static [&'static str],
    /// Which crates it may not import.
    refuses: fn(&str) -> bool,
}

const LAYERS: &[Layer] = &[
    Layer { module: "domain", modules: &[], refuses: |_| true },
    Layer {
        module: "wire",
        modules: &["domain"],
        refuses: |name| name == "sqlx" || (is_ours(name) && name != "mingle_proto"),
    },
    Layer {
        module: "store",
        modules: &["domain"],
        refuses: |name| {
            name.starts_with("tonic")
                || name.starts_with("prost")
                || (is_ours(name) && name != "mingle_store")
        },
    },
];

fn is_ours(name: &str) -> bool {
    name.starts_with("mingle_")
}

/// What one file of a service imports against the rules. `file` is its path
/// below `src`; `dependencies` are the crates it could name, with underscores.
pub(crate) fn violations(file: &Path, text: &str, dependencies: &[String]) -> Vec<String> {
    let module = module_of(file);
    let Some(layer) = LAYERS.iter().find(|layer| module.first().is_some_and(|m| m == layer.module))
    else {
        return Vec::new();
    };
    let (ships, _) = source::split_tests(&source::code(text));
    let mut found = Vec::new();
    for path in source::paths(&ships) {
        let wrong = match resolve(&path, &module) {
            Target::Module(target) => {
                target != layer.module && !layer.modules.contains(&target.as_str())
            }
            Target::Crate(name) => dependencies.contains(&name) && (layer.refuses)(&name),
        };
        if wrong {
            found.push(format!("{} may not import {}", layer.module, path.join("::")));
        }
    }
    found
}

enum Target {
    /// A top-level module of the same crate; "" is the root itself.
    Module(String),
    /// Another crate, or a name in scope.
    Crate(String),
}

fn resolve(path: &[String], module: &[String]) -> Target {
    let own = module.first().cloned().unwrap_or_default();
    let up = path.iter().take_while(|segment| *segment == "super").count();
    match path[0].as_str() {
        "crate" => Target::Module(top(&path[1]).to_owned()),
        // Inside an inline module `super` is the file's own module, so one
        // step up from the top of a layer is not held against it.
        "super" if up > module.len() => Target::Module(String::new()),
        "super" if up == module.len() && module.len() > 1 => {
            Target::Module(top(path.get(up).map_or("", String::as_str)).to_owned())
        }
        "super" if up == module.len() => match path.get(up) {
            Some(next) if LAYERS.iter().any(|layer| layer.module == next) || next == "service" => {
                Target::Module(next.clone())
            }
            _ => Target::Module(own),
        },
        "self" | "Self" => Target::Module(own),
        first => Target::Crate(first.to_owned()),
    }
}

/// A lowercase segment is a module; anything else is an item of the root.
fn top(segment: &str) -> &str {
    if segment.starts_with(|c: char| c.is_ascii_lowercase()) { segment } else { "" }
}

/// `domain/pool.rs` is `["domain", "pool"]`, `domain/mod.rs` is `["domain"]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &str, text: &str) -> usize {
        let dependencies =
            ["mingle_proto", "mingle_store", "mingle_runtime", "sqlx", "tonic", "prost", "serde"];
        violations(Path::new(file), text, &dependencies.map(str::to_owned)).len()
    }

    #[test]
    fn domain_imports_std_only() {
        assert_eq!(
            of("domain.rs", "use std::time::Duration; use crate::domain::x; Self::new();"),
            0
        );
        assert_eq!(of("domain.rs", "use serde::Serialize;"), 1);
        assert_eq!(of("domain/pool.rs", "use super::Ticket; use crate::store::Rows;"), 1);
        assert_eq!(of("domain/pool.rs", "use super::super::store;"), 1);
        assert_eq!(of("domain.rs", "use super::store::Rows;"), 1);
        assert_eq!(of("domain.rs", "fn f(e: sqlx::Error) {}"), 1);
        assert_eq!(of("domain.rs", "use crate::Config;"), 1);
    }

    #[test]
    fn wire_knows_proto_and_domain() {
        assert_eq!(
            of("wire.rs", "use crate::domain::T; use mingle_proto::chat::v1; tonic::Status"),
            0
        );
        assert_eq!(of("wire.rs", "use crate::{domain::T, store::Rows};"), 1);
        assert_eq!(of("wire/rooms.rs", "use mingle_store::Error;\nuse mingle_runtime::Peer;"), 2);
    }

    #[test]
    fn store_knows_domain_and_no_protocol() {
        assert_eq!(
            of("store/sqlite.rs", "use crate::domain::T; use mingle_store::x; sqlx::query"),
            0
        );
        assert_eq!(
            of("store/sqlite.rs", "use tonic::Status; use mingle_proto::chat; use prost::M;"),
            3
        );
        assert_eq!(of("store/mod.rs", "use crate::{wire::to_room, service::Chat};"), 2);
    }

    #[test]
    fn what_stands_above_and_tests_are_free() {
        assert_eq!(of("service.rs", "use crate::{store::A, wire::b, domain::C}; use tonic::D;"), 0);
        assert_eq!(of("store/mod.rs", "#[cfg(test)] mod tests { use tonic::Status; }"), 0);
    }
}
