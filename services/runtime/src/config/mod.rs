//! Configuration: embedded defaults → `--config FILE` → environment
//! `MINGLE_<SECTION>__<KEY>`, with the names of the source systems mapped by
//! [`sources`]. Unknown keys are errors that name the key, and every problem
//! of every section is reported at once.

mod env;
mod layer;
mod problems;
mod secret;
mod show;
pub mod sources;
mod span;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use figment::{
    Figment,
    error::Kind::{self, InvalidType, InvalidValue},
    providers::{Format as _, Serialized, Toml},
};
use serde::de::DeserializeOwned;

pub use env::Environment;
pub use problems::Problems;
pub use secret::Secret;
pub use span::{BadSpan, parse_span};

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
    origin: Arc<Origin>,
}

/// What lies below the environment.
#[derive(Debug)]
struct Origin {
    defaults: Vec<String>,
    file: Option<PathBuf>,
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
            if !known.contains(&section) {
                let by = show::by(&figment, &section);
                problems.add(&section, format_args!("unknown section{by}"));
            }
        }
        if let Err(errors) = figment.extract::<figment::value::Dict>() {
            for error in errors {
                problems.add("configuration", without_source(&error.to_string()));
            }
        }
        let mode = environment.mode(&mut problems);
        problems.into_result()?;
        let origin = Origin {
            defaults: defaults.iter().map(|text| (*text).to_owned()).collect(),
            file: file.map(PathBuf::from),
        };
        Ok(Self { figment, environment, mode, origin: Arc::new(origin) })
    }

    /// The same as its file is by now, without what [`Config::with`] laid over it.
    pub fn again(&self) -> Result<Self, Problems> {
        let defaults: Vec<_> = self.origin.defaults.iter().map(String::as_str).collect();
        Self::load(&defaults, self.file(), self.environment.clone())
    }

    /// The file that lies over the defaults.
    pub fn file(&self) -> Option<&Path> {
        self.origin.file.as_deref()
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
                    let tells = matches!(error.kind, InvalidType(..) | InvalidValue(..));
                    if tells && show::is_secret(&key) {
                        problems.add(&key, "is not a text");
                        continue;
                    }
                    let (hint, by) = (hint(&error.kind), show::by(&self.figment, &key));
                    problems.add(&key, format_args!("{}{hint}{by}", error.kind));
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

    /// True when the text at `key`, written `section.key`, is empty or absent. What
    /// is no text is neither: whoever reads the section is told.
    pub fn is_empty(&self, key: &str) -> bool {
        match self.figment.extract_inner::<Secret>(key) {
            Ok(text) => text.is_empty(),
            Err(_) => !self.figment.contains(key),
        }
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

/// What the library's words leave open.
fn hint(kind: &Kind) -> &'static str {
    match kind {
        Kind::MissingField(_) => "; or is the name misspelt?",
        InvalidType(_, expected) if expected.contains("sequence") => {
            r#", which is written ["a", "b"]"#
        }
        Kind::Message(said) if said.contains("socket address") => ", such as 127.0.0.1:8080",
        _ => "",
    }
}

/// What is wrong with a file, without its lines: they may hold secrets.
fn without_source(error: &str) -> String {
    let is_source = |line: &str| {
        line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|')
    };
    let lines = error.lines().map(str::trim).filter(|line| !line.is_empty() && !is_source(line));
    lines.collect::<Vec<_>>().join("; ")
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
