//! The configuration as a text that a person can read, and a start too.

use std::collections::BTreeSet;

use figment::{
    Figment, Source,
    value::{Dict, Value},
};

use super::{Config, top_level};

/// True for a key that holds a secret, by the end of its name. That whatever a
/// section keeps as [`Secret`](super::Secret) has such a name is held by a test.
pub(super) fn is_secret(key: &str) -> bool {
    ["secret", "token", "password"].iter().any(|end| key.ends_with(end))
}

impl Config {
    /// Every section as TOML, which [`Config::load`] reads as the same
    /// configuration where the same secrets are given to it: of those nothing is
    /// told but that they are there. What is not a default says where it is from.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for section in top_level(&self.figment) {
            if let Ok(Value::Dict(_, dict)) = self.figment.find_value(&section) {
                self.table(&mut text, &written(&section), &dict);
            }
        }
        text
    }

    fn table(&self, text: &mut String, path: &str, dict: &Dict) {
        let is_table = |value: &Value| matches!(value, Value::Dict(..));
        let has_tables = dict.values().any(is_table);
        if !has_tables || !dict.values().all(is_table) {
            text.push_str(&format!("\n[{path}]\n"));
        }
        for (key, value) in dict.iter().filter(|(_, value)| !is_table(value)) {
            text.push_str(&self.line(key, value));
        }
        for (key, value) in dict {
            if let Value::Dict(_, dict) = value {
                self.table(text, &format!("{path}.{}", written(key)), dict);
            }
        }
    }

    fn line(&self, key: &str, value: &Value) -> String {
        let (key_written, from) = (written(key), origin(&self.figment, value));
        let named = from.as_deref().unwrap_or("this program").to_owned();
        if is_secret(key) && value.as_str() != Some("") {
            return format!("# {key_written} is set and not shown, by {named}\n");
        }
        let from = from.map(|from| format!("  # {from}")).unwrap_or_default();
        match toml::Value::try_from(value) {
            Ok(value) => format!("{key_written} = {value}{from}\n"),
            // A number beyond 63 bits, which no key takes that makes sense.
            Err(_) => format!("# {key_written} has a value that TOML does not know, by {named}\n"),
        }
    }
}

/// Which file or variable a value is from; `None` for a default.
fn origin(figment: &Figment, value: &Value) -> Option<String> {
    match figment.get_metadata(value.tag())?.source.as_ref()? {
        Source::File(path) => Some(path.display().to_string().escape_debug().to_string()),
        Source::Custom(variable) => Some(variable.escape_debug().to_string()),
        _ => None,
    }
}

/// " (set by …)": the files and variables that say something at `key` or below it;
/// empty where none does.
pub(super) fn by(figment: &Figment, key: &str) -> String {
    fn add(figment: &Figment, value: &Value, all: &mut BTreeSet<String>) {
        match value {
            Value::Dict(_, dict) => dict.values().for_each(|value| add(figment, value, all)),
            value => all.extend(origin(figment, value)),
        }
    }
    let mut all = BTreeSet::new();
    if let Ok(value) = figment.find_value(key) {
        add(figment, &value, &mut all);
    }
    let all: Vec<_> = all.into_iter().collect();
    if all.is_empty() { String::new() } else { format!(" (set by {})", all.join(", ")) }
}

/// A key as TOML has it.
fn written(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) {
        return key.to_owned();
    }
    toml::Value::String(key.to_owned()).to_string()
}
