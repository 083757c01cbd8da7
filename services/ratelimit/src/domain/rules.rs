//! Rules for descriptors, and which of them one meets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::limit::Limit;

/// Envoy's units: name, number, length in seconds.
const UNITS: [(&str, i32, u64); 7] = [
    ("second", 1, 1),
    ("minute", 2, 60),
    ("hour", 3, 3_600),
    ("day", 4, 86_400),
    ("week", 7, 7 * 86_400),
    ("month", 5, 30 * 86_400),
    ("year", 6, 365 * 86_400),
];

/// Rules by domain.
#[derive(Debug, Default)]
pub struct Rules {
    pub(crate) domains: BTreeMap<String, Domain>,
    pub(crate) digest: [u8; 32],
}

#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) root: Node,
    pub(crate) all_or_nothing: bool,
}

/// What an entry leads to.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) rule: Option<Arc<Rule>>,
    /// By key and value.
    pub(crate) exact: HashMap<(String, String), Node>,
    /// In the order written.
    pub(crate) wildcards: Vec<Wildcard>,
    /// By key, whatever the value.
    pub(crate) any: HashMap<String, Node>,
}

#[derive(Debug)]
pub(crate) struct Wildcard {
    pub(crate) key: String,
    pub(crate) pattern: String,
    /// All values that match have one count.
    pub(crate) shares: bool,
    pub(crate) node: Node,
}

/// What is said of a descriptor.
#[derive(Debug)]
pub struct Rule {
    /// `None`: it is not limited.
    pub limit: Option<Arc<Limit>>,
    /// As `name` says.
    pub name: String,
    /// Rules of these names do not count beside it.
    pub replaces: Vec<String>,
    /// Denies only when all rules of its kind do.
    pub quota_mode: bool,
    /// Of the window, as Envoy counts units; 0 where none of them is as long.
    pub unit: i32,
}

/// The rule of a descriptor, and whom it counts.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Domain and entries, as one text that no other is like.
    pub subject: String,
}

impl Rules {
    /// Of the files that they were read from.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether there are any of this domain, and what one of its descriptors denies is
    /// charged to none.
    pub fn domain(&self, domain: &str) -> Option<bool> {
        self.domains.get(domain).map(|domain| domain.all_or_nothing)
    }

    /// The rule that entries of key and value lead to.
    pub fn find(&self, domain: &str, entries: &[(&str, &str)]) -> Option<Found> {
        let mut node = &self.domains.get(domain)?.root;
        let mut values = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (next, counted) = node.next(key, value)?;
            values.push((*key, counted));
            node = next;
        }
        let rule = node.rule.clone().filter(|_| !entries.is_empty())?;
        Some(Found { rule, subject: subject(domain, &values) })
    }

    /// Every limit there is.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Limit>> {
        let mut left: Vec<_> = self.domains.values().map(|domain| &domain.root).collect();
        let nodes = std::iter::from_fn(move || {
            let node = left.pop()?;
            left.extend(node.exact.values().chain(node.any.values()));
            left.extend(node.wildcards.iter().map(|wildcard| &wildcard.node));
            Some(node)
        });
        nodes.filter_map(|node| node.rule.as_ref()?.limit.as_ref())
    }
}

impl Node {
    /// Where an entry leads, and the value that it is counted by.
    fn next<'a>(&'a self, key: &str, value: &'a str) -> Option<(&'a Self, &'a str)> {
        if let Some(node) = self.exact.get(&(key.to_owned(), value.to_owned())) {
            return Some((node, value));
        }
        let matching = |it: &&Wildcard| it.key == key && matches(&it.pattern, value);
        if let Some(found) = self.wildcards.iter().find(matching) {
            return Some((&found.node, if found.shares { &found.pattern } else { value }));
        }
        self.any.get(key).map(|node| (node, value))
    }
}

/// Who is counted: what nobody else can be, as subjects of calls hold no control
/// characters.
pub(crate) fn subject(domain: &str, entries: &[(&str, &str)]) -> String {
    let mut subject = format!("\0d\0{}\0{domain}", domain.len());
    for (key, value) in entries {
        // With their lengths: what they hold is not ours.
        subject.push_str(&format!("\0{}\0{key}\0{}\0{value}", key.len(), value.len()));
    }
    subject
}

/// The length of Envoy's unit of this name, in any case.
pub(crate) fn named_us(name: &str) -> Option<u64> {
    let unit = UNITS.iter().find(|(unit, ..)| unit.eq_ignore_ascii_case(name));
    unit.map(|(.., seconds)| seconds * 1_000_000)
}

/// The length of Envoy's unit of this number.
pub(crate) fn unit_us(number: i32) -> Option<u64> {
    let unit = UNITS.iter().find(|(_, it, _)| *it == number);
    unit.map(|(.., seconds)| seconds * 1_000_000)
}

/// Envoy's number of a unit of this length; 0 where there is none.
pub(crate) fn unit_of(window_us: u64) -> i32 {
    let unit = UNITS.iter().find(|(.., seconds)| seconds * 1_000_000 == window_us);
    unit.map_or(0, |(_, number, _)| *number)
}

/// A path as the name of a limit: of metrics, and of what is stored, where the subject
/// tells one path from another that looks the same.
pub(crate) fn label(path: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-/:*@".contains(it);
    path.chars().map(|it| if is_plain(it) { it } else { '_' }).take(256).collect()
}

/// True when `value` is `pattern`, each `*` of which stands for any text.
fn matches(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = value.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, value, is_met) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*", "b", false),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("ab*bc", "abc", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "abc", true),
        ] {
            assert_eq!(matches(pattern, value), is_met, "{pattern} {value}");
        }
    }
}
