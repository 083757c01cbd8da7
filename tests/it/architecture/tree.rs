//! What may be in the tree: root entries, names, sizes and words.

use super::source;
use std::path::Path;

const ROOT: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "proto",
    "services",
    "gateway",
    "deploy",
    "tests",
    "buf.yaml",
    "docker-compose.yml",
];

/// Names that say nothing: what is called so collects everything.
const NAMELESS: &[&str] = &["common", "util", "utils", "types", "helper", "helpers"];

/// Written by tools, not read by people.
const GENERATED: &[&str] =
    &["Cargo.lock", "package-lock.json", "api/openapi.json", "api/asyncapi.json"];
const LONGEST: usize = 500;

/// The one place that may wait for time to pass, and the load generator, whose
/// pace is its purpose.
const MAY_WAIT: &[&str] = &["tests/kit/src/eventually.rs", "tests/bench/"];

/// What of this file, named by its path from the root, is against the rules.
/// `text` is `None` for what is not text.
pub(crate) fn violations(path: &str, text: Option<&str>) -> Vec<String> {
    let mut found = misnamed(path);
    let Some(text) = text else { return found };
    let lines = text.lines().count();
    if lines > LONGEST && !GENERATED.iter().any(|name| path.ends_with(name)) {
        found.push(format!("{path} has {lines} lines, more than {LONGEST}"));
    }
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        if text.split(|c: char| !c.is_ascii_alphanumeric()).any(|token| token == word) {
            found.push(format!("{path} says {word}"));
        }
    }
    if path.ends_with(".sql") && means_whatever_is_there(text) {
        found.push(format!("{path} selects columns that it does not name"));
    }
    if waits(path, text) {
        found.push(format!("{path} waits for time to pass in a test: use eventually()"));
    }
    found
}

fn misnamed(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let root = path.split('/').next().unwrap_or(path);
    if !root.starts_with('.') && !ROOT.contains(&root) {
        found.push(format!("{root} does not belong at the root"));
    }
    let nameless = Path::new(path)
        .iter()
        .filter_map(|part| Path::new(part).file_stem()?.to_str())
        .any(|part| NAMELESS.contains(&part));
    if nameless {
        found.push(format!("{path} has a name that says nothing"));
    }
    found
}

/// What a statement answers changes with the table, which a session of PostgreSQL that has
/// prepared it refuses.
fn means_whatever_is_there(text: &str) -> bool {
    let answers = text.lines().skip_while(|line| !line.starts_with("select "));
    let mut answers = answers.take_while(|line| !line.starts_with("from "));
    answers.any(|line| ["select *", ".*", ", *"].iter().any(|all| line.contains(all)))
}

fn waits(path: &str, text: &str) -> bool {
    if MAY_WAIT.iter().any(|allowed| path.starts_with(allowed)) {
        return false;
    }
    let calls = [concat!("sle", "ep("), concat!("waitFor", "Timeout(")];
    let within = |code: &str| calls.iter().any(|call| code.contains(call));
    if path.starts_with("tests/") || path.contains("/tests/") {
        return if path.ends_with(".rs") { within(&source::code(text)) } else { within(text) };
    }
    path.ends_with(".rs") && within(&source::split_tests(&source::code(text)).1)
}

/// Inline modules whose name says nothing.
pub(crate) fn nameless_modules(path: &str, text: &str) -> Vec<String> {
    let code = source::code(text);
    let words: Vec<&str> = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    words
        .windows(2)
        .filter(|pair| pair[0] == "mod" && NAMELESS.contains(&pair[1]))
        .map(|pair| format!("{path} has a module named {}", pair[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        violations(path, Some(text)).len()
    }

    #[test]
    fn root_entries_and_names_are_held_to_the_list() {
        assert_eq!(count("services/chat/src/lib.rs", ""), 0);
        assert_eq!(count(".ci/run", ""), 0);
        assert_eq!(count("docs/index.md", ""), 1);
        assert_eq!(count("services/common/src/lib.rs", ""), 1);
        assert_eq!(count("services/chat/src/utils.rs", ""), 1);
        assert_eq!(nameless_modules("a.rs", "pub mod helpers { }").len(), 1);
        assert_eq!(nameless_modules("a.rs", "mod help; // mod utils").len(), 0);
    }

    #[test]
    fn long_files_are_found_but_for_generated_ones() {
        let long = "x\n".repeat(LONGEST + 1);
        assert_eq!(count("gateway/src/ws.rs", &long), 1);
        assert_eq!(count("gateway/src/ws.rs", &long[2..]), 0);
        assert_eq!(count("Cargo.lock", &long), 0);
    }

    #[test]
    fn unfinished_work_is_found() {
        let word = concat!("// TO", "DO: later");
        assert_eq!(count("gateway/src/ws.rs", word), 1);
        assert_eq!(count("gateway/src/ws.rs", &word.to_lowercase()), 0);
    }

    #[test]
    fn columns_without_a_name_are_found() {
        let of = |text| count("services/chat/sql/postgres/room.sql", text);
        assert_eq!(of("-- A room.\nselect * from chat_rooms"), 1);
        assert_eq!(of("select r.room_id,\n    m.*\nfrom chat_rooms r"), 1);
        assert_eq!(of("select count(*) as n\nfrom (\n    select * from chat_rooms\n) r"), 0);
    }

    #[test]
    fn waiting_in_tests_is_found() {
        let call = concat!("tokio::time::sle", "ep(x).await;");
        assert_eq!(count("services/chat/tests/it/main.rs", call), 1);
        assert_eq!(count("tests/browser/meet.test.mjs", call), 1);
        assert_eq!(count("services/chat/src/lib.rs", call), 0);
        assert_eq!(
            count("services/chat/src/lib.rs", &format!("#[cfg(test)] mod t {{ {call} }}")),
            1
        );
        assert_eq!(count("tests/kit/src/eventually.rs", call), 0);
    }
}
