//! Configuration: embedded defaults → `--config FILE` → environment
//! `MINGLE_<SECTION>__<KEY>`, with the names of the source systems mapped by
//! [`sources`]. Unknown keys are errors that name the key, and every problem
//! of every section is reported at once.

mod env;
mod secret;
pub mod sources;

use std::{fmt::Write as _, path::Path};

use figment::{
    Figment,
    providers::{Format as _, Serialized, Toml},
};
use serde::de::DeserializeOwned;

pub use env::Environment;
pub use secret::Secret;

/// One table of the configuration, owned by one crate.
pub trait Section: DeserializeOwned {
    /// The name of the table.
    const NAME: &'static str;
    /// The table's defaults: a TOML text with that one table, in which every
    /// key is there with its unit.
    const DEFAULTS: &'static str;

    /// Reports each value that parses and makes no sense.
    fn validate(&self, problems: &mut Problems);
}

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

/// Development is for one machine and one person; production is everything
/// else and refuses what is unsafe there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Hands out tokens and makes up secrets.
    Development,
    /// Refuses to start without secrets.
    Production,
}

/// The merged configuration of a process; sections are read from it by those
/// who own them.
#[derive(Clone, Debug)]
pub struct Config {
    figment: Figment,
    environment: Environment,
    mode: Mode,
}

impl Config {
    /// Merges the layers. `defaults` are the texts of every section of the
    /// program; a section outside them is a problem.
    pub fn load(
        defaults: &[&str],
        file: Option<&Path>,
        environment: Environment,
    ) -> Result<Self, Problems> {
        let mut figment = Figment::new();
        for text in defaults {
            figment = figment.merge(Toml::string(text));
        }
        let known = top_level(&figment);
        let mut problems = Problems::default();
        if let Some(file) = file {
            if !file.is_file() {
                problems.add("--config", format_args!("no file {}", file.display()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = environment.merge_into(figment, &mut problems);
        for section in top_level(&figment) {
            problems.require(known.contains(&section), &section, "unknown section");
        }
        if let Err(errors) = figment.extract::<figment::value::Dict>() {
            errors.into_iter().for_each(|error| problems.add("configuration", error));
        }
        let mode = environment.mode(&mut problems);
        problems.into_result()?;
        Ok(Self { figment, environment, mode })
    }

    /// Reads one section; its problems are added, and `None` returned when it
    /// cannot be read at all.
    pub fn section<S: Section>(&self, problems: &mut Problems) -> Option<S> {
        match self.figment.extract_inner::<S>(S::NAME) {
            Ok(section) => {
                section.validate(problems);
                Some(section)
            }
            Err(errors) => {
                for error in errors {
                    let key = key_of(S::NAME, error.path);
                    let variable = format!("MINGLE_{}", key.replace('.', "__").to_uppercase());
                    if self.environment.contains(&variable) {
                        problems.add(&key, format_args!("{} (set by {variable})", error.kind));
                    } else {
                        problems.add(&key, error.kind);
                    }
                }
                None
            }
        }
    }

    /// Reads one section, or reports what is wrong with it.
    pub fn read<S: Section>(&self) -> Result<S, Problems> {
        let mut problems = Problems::default();
        let section = self.section(&mut problems);
        problems.into_result()?;
        section.ok_or_else(Problems::default)
    }

    /// True when the text at `key`, written `section.key`, is empty or absent.
    pub fn is_empty(&self, key: &str) -> bool {
        self.figment.extract_inner::<Secret>(key).map_or(true, |text| text.is_empty())
    }

    /// The configuration with the text `value` at `key`, over every layer.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.figment = self.figment.merge(Serialized::default(key, value));
        self
    }

    /// Development or production.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The environment that the configuration was read from.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// The library names the section of a key after it, or not at all.
fn key_of(section: &str, mut path: Vec<String>) -> String {
    path.retain(|part| part != section);
    path.insert(0, section.to_owned());
    path.join(".")
}

fn top_level(figment: &Figment) -> Vec<String> {
    let dict = figment.extract::<figment::value::Dict>().unwrap_or_default();
    dict.into_keys().collect()
}
