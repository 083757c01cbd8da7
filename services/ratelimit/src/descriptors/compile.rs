//! Files of rules as rules.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use mingle_runtime::config::parse_span;
use serde_saphyr::{Location, Spanned};
use sha2::{Digest as _, Sha256};

use super::{
    Problem, Problems,
    file::{Descriptor, RateLimit, Root},
};
use crate::{
    config::{Algorithm, MAX_WINDOW_US},
    domain::{
        self, Domain, Limit, MAX_QUOTA, Node, Rule, Rules, Wildcard, label, named_us, unit_of,
    },
};

/// A file of rules may be so long.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The rules of a file, or of the `.yaml` and `.yml` files of a folder.
///
/// **Errors**: all that is wrong with them, each with file, line and column.
pub fn read(path: &Path) -> Result<Rules, Problems> {
    let mut compiler = Compiler::default();
    match files(path) {
        Ok(files) => files.into_iter().for_each(|file| compiler.add(file)),
        Err(error) => compiler.problems.push(of_file(path, error.to_string())),
    }
    match compiler.problems.is_empty() {
        true => Ok(compiler.rules),
        false => Err(Problems(compiler.problems)),
    }
}

pub(crate) fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let is_yaml = file.extension().is_some_and(|it| it == "yaml" || it == "yml");
        if is_yaml && fs::metadata(&file)?.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn of_file(file: &Path, what: String) -> Problem {
    Problem { file: file.to_owned(), at: None, what }
}

#[derive(Default)]
struct Compiler {
    rules: Rules,
    problems: Vec<Problem>,
    file: PathBuf,
}

impl Compiler {
    fn add(&mut self, file: PathBuf) {
        let text = fs::metadata(&file).and_then(|about| match about.len() {
            0..=MAX_BYTES => fs::read_to_string(&file),
            _ => Err(std::io::Error::other("is longer than 4 MiB")),
        });
        self.file = file;
        if let Ok(text) = &text {
            self.rules.digest =
                Sha256::new().chain_update(self.rules.digest).chain_update(text).finalize().into();
        }
        let root = match text.map(|text| serde_saphyr::from_str::<Root>(&text)) {
            Ok(Ok(root)) => root,
            Ok(Err(error)) => {
                let at = error.location().map(place);
                let mut what = first_line(&error.without_snippet().to_string());
                if let Some((line, column)) = at {
                    // It says so itself, too.
                    let said = format!(" at line {line}, column {column}");
                    what.truncate(what.strip_suffix(&said).map_or(what.len(), str::len));
                }
                return self.problems.push(Problem { file: self.file.clone(), at, what });
            }
            Err(error) => return self.problems.push(of_file(&self.file, error.to_string())),
        };
        let name = root.domain.value.clone();
        if name.is_empty() {
            return self.problem(&root.domain, "domain must not be empty");
        }
        if self.rules.domains.contains_key(&name) {
            return self.problem(&root.domain, format!("domain {name} is there already"));
        }
        let mut node = Node::default();
        self.fill(&mut node, root.descriptors, &name);
        let domain = Domain { root: node, all_or_nothing: root.all_or_nothing };
        self.rules.domains.insert(name, domain);
    }

    fn problem<T>(&mut self, at: &Spanned<T>, what: impl Into<String>) {
        let (file, at, what) = (self.file.clone(), Some(place(at.referenced)), what.into());
        self.problems.push(Problem { file, at, what });
    }

    fn fill(&mut self, node: &mut Node, descriptors: Vec<Descriptor>, parent: &str) {
        for descriptor in descriptors {
            let (key, value) = (descriptor.key.value.clone(), descriptor.value.clone());
            let value = value.filter(|value| !value.is_empty());
            let path = match &value {
                Some(value) => format!("{parent}.{key}_{value}"),
                None => format!("{parent}.{key}"),
            };
            let at = descriptor.key.clone();
            if key.is_empty() {
                self.problem(&at, "key must not be empty");
            }
            let is_pattern = value.as_ref().is_some_and(|value| value.contains('*'));
            let shares = descriptor.share_threshold;
            if shares && !is_pattern {
                self.problem(&at, "share_threshold is of values with * alone");
            }
            let mut next = Node::default();
            let modes = (descriptor.shadow_mode, descriptor.quota_mode);
            if let Some(limit) = descriptor.rate_limit {
                next.rule = self.rule(limit, (&path, modes, &at)).map(Arc::new);
            }
            self.fill(&mut next, descriptor.descriptors.unwrap_or_default(), &path);
            let is_new = match value {
                Some(pattern) if is_pattern => {
                    let is_same = |it: &Wildcard| it.key == key && it.pattern == pattern;
                    let is_new = !node.wildcards.iter().any(is_same);
                    node.wildcards.push(Wildcard { key, pattern, shares, node: next });
                    is_new
                }
                Some(value) => node.exact.insert((key, value), next).is_none(),
                None => node.any.insert(key, next).is_none(),
            };
            if !is_new {
                self.problem(&at, format!("{path} is there already"));
            }
        }
    }

    fn rule(
        &mut self,
        of: RateLimit,
        (path, (shadow, quota_mode), at): (&str, (bool, bool), &Spanned<String>),
    ) -> Option<Rule> {
        let name = of.name.clone().unwrap_or_default();
        for replaced in &of.replaces {
            if replaced.value.name.is_empty() {
                self.problem(replaced, "name of replaces must not be empty");
            } else if replaced.value.name == name {
                self.problem(replaced, "a rule cannot replace itself");
            }
        }
        let replaces = of.replaces.iter().map(|it| it.value.name.clone()).collect();
        let mut rule = Rule { limit: None, name, replaces, quota_mode, unit: 0 };
        if of.unlimited {
            if let Some(unit) = &of.unit {
                self.problem(unit, "unit must not be said of what is unlimited");
            }
            return Some(rule);
        }
        let (window_us, unit) = self.window(&of, at)?;
        let limit = self.limit(&of, (path, window_us, at))?;
        rule.unit = unit;
        rule.limit = Some(Arc::new(Limit { shadow, ..limit }));
        Some(rule)
    }

    /// The length of the window, and Envoy's number of that unit.
    fn window(&mut self, of: &RateLimit, at: &Spanned<String>) -> Option<(u64, i32)> {
        if let Some(window) = &of.window {
            if let Some(unit) = &of.unit {
                self.problem(unit, "unit must not be said beside window");
            }
            let parsed = parse_span(&window.value).ok().filter(|us| *us <= MAX_WINDOW_US);
            let Some(window_us) = parsed else {
                self.problem(window, "window must be like 30s, 15m or 1d, at most 366d");
                return None;
            };
            return Some((window_us, unit_of(window_us)));
        }
        let Some(unit) = &of.unit else {
            self.problem(at, "unit or window is missing");
            return None;
        };
        let Some(unit_us) = named_us(&unit.value) else {
            let why = "must be second, minute, hour, day, week, month or year";
            self.problem(unit, format!("unit {why}"));
            return None;
        };
        let times = of.unit_multiplier.as_ref().map_or(1, |times| times.value);
        let window_us = unit_us.saturating_mul(times);
        match &of.unit_multiplier {
            Some(times) if !(1..=MAX_WINDOW_US).contains(&window_us) => {
                let why = "must be at least 1, and the window at most 366d";
                self.problem(times, format!("unit_multiplier {why}"));
                None
            }
            _ => Some((window_us, unit_of(window_us))),
        }
    }

    fn limit(
        &mut self,
        of: &RateLimit,
        (path, window_us, at): (&str, u64, &Spanned<String>),
    ) -> Option<Limit> {
        let Some(requests) = &of.requests_per_unit else {
            self.problem(at, "requests_per_unit is missing");
            return None;
        };
        let kind = of.algorithm.as_ref().map_or(Algorithm::SlidingWindow, |it| it.value);
        let quota = requests.value;
        if quota > MAX_QUOTA {
            self.problem(requests, "requests_per_unit must be at most 1000000000");
        }
        let bursts = matches!(kind, Algorithm::Gcra | Algorithm::TokenBucket);
        if bursts && !(1..=window_us).contains(&quota) {
            let why = "must be 1 to one per microsecond of the window, of gcra and token_bucket";
            self.problem(requests, format!("requests_per_unit {why}"));
        }
        if let (Algorithm::Concurrency, Some(algorithm)) = (kind, &of.algorithm) {
            self.problem(algorithm, "algorithm must not be concurrency: nobody would release");
        }
        let usual = if let Algorithm::TokenBucket = kind { quota } else { 1 };
        if let Some(burst) = &of.burst {
            if !bursts {
                self.problem(burst, "burst is of gcra and token_bucket alone");
            } else if !(1..=quota).contains(&burst.value) {
                self.problem(burst, "burst must be 1 to requests_per_unit");
            }
        }
        Some(Limit {
            name: label(path).into(),
            algorithm: kind.into(),
            quota,
            window_us,
            burst: of.burst.as_ref().map_or(usual, |burst| burst.value),
            outage: of.outage.map_or(domain::Outage::Local, Into::into),
            shadow: false,
            parts: 1,
        })
    }
}

fn place(at: Location) -> (u64, u64) {
    (at.line(), at.column())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
