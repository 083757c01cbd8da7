//! The environment as a layer of the configuration.
//!
//! `MINGLE_<SECTION>__<KEY>` sets a key of a section; the variable ending in
//! `_FILE` names a file that holds the value. Variables of that prefix without
//! `__` are either named in [`NAMED`] or not ours: Kubernetes sets
//! `MINGLE_CHAT_SERVICE_HOST` by itself for a Service called `mingle-chat`.

use std::{collections::BTreeMap, fs};

use figment::Figment;

use super::{Mode, Problems, layer::Variable};

const PREFIX: &str = "MINGLE_";
/// Development or production.
const MODE: &str = "MINGLE_ENV";

/// Variables with a name of their own, and the key that each sets.
const NAMED: &[(&str, &str)] = &[
    ("MINGLE_INTERNAL_TOKEN", "grpc.internal_token"),
    ("MINGLE_TRUST_NETWORK", "grpc.trust_network"),
    ("MINGLE_SESSION_SECRET", "gateway.session_secret"),
    ("MINGLE_JWT_SECRET", "gateway.jwt_secret"),
];

/// A snapshot of environment variables.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Values may be secrets: only names are shown.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Environment {
    /// That of this process. Variables that are not text are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable's value, or that in the file its `_FILE` twin names. Empty
    /// counts as unset, as in every shell script's `${X:-}`.
    pub fn get(&self, name: &str, problems: &mut Problems) -> Option<String> {
        if let Some(value) = self.0.get(name).filter(|value| !value.is_empty()) {
            return Some(value.clone());
        }
        let twin = format!("{name}_FILE");
        let path = self.0.get(&twin).filter(|path| !path.is_empty())?;
        read_file(&twin, path, problems)
    }

    /// The variable that [`Environment::get`] takes a value from: this one, or its
    /// `_FILE` twin.
    pub fn holder(&self, name: &str) -> Option<String> {
        let is_set = |name: &String| self.0.get(name).is_some_and(|value| !value.is_empty());
        [name.to_owned(), format!("{name}_FILE")].into_iter().find(is_set)
    }

    /// The variables that are set and whose names begin so, in order.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let is_set =
            move |(name, value): &(&String, &String)| name.starts_with(prefix) && !value.is_empty();
        self.0.iter().filter(is_set).map(|(name, _)| name.as_str())
    }

    /// Variables that begin like ours, are none of ours, and are not those
    /// that Kubernetes makes up for a Service: misspelt, most likely.
    pub fn strangers(&self) -> Vec<&str> {
        let is_stranger = |name: &&str| {
            let base = name.strip_suffix("_FILE").unwrap_or(name);
            let Some(rest) = base.strip_prefix(PREFIX) else { return false };
            let is_named = base == MODE || NAMED.iter().any(|(named, _)| *named == base);
            let is_link = rest.ends_with("_SERVICE_HOST") || rest.contains("_PORT");
            !is_named && !is_link && !rest.contains("__")
        };
        self.0.keys().map(String::as_str).filter(is_stranger).collect()
    }

    pub(super) fn mode(&self, problems: &mut Problems) -> Mode {
        let replit = self.get("REPLIT_DEPLOYMENT", problems).is_some_and(|value| value == "1");
        match self.get(MODE, problems).as_deref() {
            Some("production") => Mode::Production,
            Some("development") => Mode::Development,
            None if replit => Mode::Production,
            None => Mode::Development,
            Some(other) => {
                let why = format_args!("is {other:?}, not development or production");
                problems.add(MODE, why);
                Mode::Production
            }
        }
    }

    pub(super) fn merge_into(&self, mut figment: Figment, problems: &mut Problems) -> Figment {
        for (name, value) in self.0.iter().filter(|(_, value)| !value.is_empty()) {
            let is_set = |name: &str| self.0.get(name).is_some_and(|value| !value.is_empty());
            let Some((key, value)) = setting((name, value), is_set, problems) else {
                continue;
            };
            // Where the default is text, digits are text: a secret may look
            // like a number. Else figment's types: numbers, booleans, lists in
            // brackets.
            let is_text = figment.find_value(&key).is_ok_and(|default| default.as_str().is_some());
            let parsed: figment::value::Value = if is_text {
                value.into()
            } else {
                value.parse().unwrap_or_else(|never| match never {})
            };
            figment = figment.merge(Variable { name, key: &key, value: parsed });
        }
        figment
    }
}

/// The key that a variable sets and its value, if it is one of ours.
fn setting(
    (name, value): (&str, &str),
    is_set: impl Fn(&str) -> bool,
    problems: &mut Problems,
) -> Option<(String, String)> {
    let (base, is_file) = match name.strip_suffix("_FILE") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let key = match NAMED.iter().find(|(named, _)| *named == base) {
        Some((_, key)) => (*key).to_owned(),
        None => {
            let (section, key) = base.strip_prefix(PREFIX)?.split_once("__")?;
            format!("{section}.{}", key.replace("__", ".")).to_lowercase()
        }
    };
    if is_file {
        let twin = format!("is set, and {base} too: which one is meant?");
        problems.require(!is_set(base), name, &twin);
    }
    let value = if is_file { read_file(name, value, problems)? } else { value.to_owned() };
    Some((key, value))
}

fn read_file(name: &str, path: &str, problems: &mut Problems) -> Option<String> {
    match fs::read_to_string(path) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            problems.add(name, format_args!("cannot read {path}: {error}"));
            None
        }
    }
}
