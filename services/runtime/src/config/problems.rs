//! Everything that is wrong, not only the first of it.

use std::fmt::Write as _;

/// What is wrong with the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem of `key`, written `section.key`.
    pub fn add(&mut self, key: &str, why: impl std::fmt::Display) {
        self.0.push(format!("{key}: {why}"));
    }

    /// Adds a problem of `key` unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, why: &str) {
        if !holds {
            self.add(key, why);
        }
    }

    /// True when a problem of `key` is known.
    pub fn has(&self, key: &str) -> bool {
        let of_key =
            |problem: &String| problem.strip_prefix(key).is_some_and(|rest| rest.starts_with(": "));
        self.0.iter().any(of_key)
    }

    /// Takes over what is wrong elsewhere.
    pub fn take<T>(&mut self, found: Result<T, Self>) -> Option<T> {
        found.map_err(|others| self.0.extend(others.0)).ok()
    }

    /// Each of them: the key, and what is wrong with it.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Succeeds when there is none.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::from("the configuration has problems:");
        for problem in &self.0 {
            write!(text, "\n  - {problem}")?;
        }
        f.write_str(&text)
    }
}
