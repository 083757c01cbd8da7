//! Judges a file of limits: TOML as `--config` takes it, or the YAML of descriptors.

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use anyhow::Context as _;
use mingle_ratelimit::descriptors;
use mingle_runtime::{
    Role,
    config::{Environment, Problems},
};
use toml_edit::{ImDocument, Item};

use crate::load;

/// Says what is in it, or each fault as `file:line:column: what`; the exit code is 1
/// when there is one.
pub(crate) fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let is_toml = path.extension().is_some_and(|it| it == "toml");
    let (said, has_failed) = match if is_toml { of_toml(path) } else { of_rules(path) } {
        Ok(said) => (said, false),
        Err(faults) => (faults, true),
    };
    writeln!(std::io::stdout().lock(), "{said}").context("standard output")?;
    Ok(ExitCode::from(u8::from(has_failed)))
}

fn of_rules(path: &Path) -> Result<String, String> {
    let rules = descriptors::read(path).map_err(|problems| problems.to_string())?;
    Ok(format!("{} limits of descriptors", rules.limits().count()))
}

fn of_toml(path: &Path) -> Result<String, String> {
    let place = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    let document = ImDocument::parse(&*text).map_err(|error| {
        let (line, column) = at(&text, error.span().map_or(0, |span| span.start));
        format!("{place}:{line}:{column}: {}", error.message())
    })?;
    let mut problems = Problems::default();
    let none: [(&str, &str); 0] = [];
    let environment = none.into_iter().collect::<Environment>();
    let config = problems.take(load::config_in(Some(path), &[Role::Ratelimit], environment));
    let section =
        config.and_then(|config| config.section::<mingle_ratelimit::Config>(&mut problems));
    if let Err(problems) = problems.into_result() {
        let told = problems.each().map(|problem| {
            let key = problem.split(": ").next().unwrap_or_default();
            let (line, column) = at(&text, begin_of(document.as_item(), key));
            format!("{place}:{line}:{column}: {problem}")
        });
        return Err(told.collect::<Vec<_>>().join("\n"));
    }
    let limits = section.as_ref().map_or(0, |section| section.limits().len());
    match section.as_ref().and_then(|section| section.descriptors()) {
        Some(rules) => Ok(format!("{limits} limits, {}", of_rules(rules)?)),
        None => Ok(format!("{limits} limits")),
    }
}

/// Where a key begins, or the deepest of those above it that are written.
fn begin_of(document: &Item, key: &str) -> usize {
    let (mut item, mut begin, mut rest) = (document, 0, key);
    while let Some(table) = item.as_table_like() {
        // A name may hold dots.
        let is_next = |name: &str| {
            rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let Some((name, next)) = table.iter().find(|(name, _)| is_next(name)) else { break };
        let span =
            table.get_key_value(name).and_then(|(key, _)| key.span()).or_else(|| next.span());
        begin = span.map_or(begin, |span| span.start);
        rest = rest[name.len()..].trim_start_matches('.');
        item = next;
    }
    begin
}

/// Line and column of a byte, from 1.
fn at(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
