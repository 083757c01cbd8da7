//! What is wrong with a request.

use std::fmt;

/// Why a field cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is empty or absent.
    Required,
    /// It is longer or more numerous than its bound.
    TooLong,
    /// It holds what it cannot hold.
    Malformed,
    /// It names a limit that is not configured.
    UnknownLimit,
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Its proto path.
    pub field: String,
    /// The kind of fault.
    pub why: Why,
    /// The rule that it breaks, for people.
    pub rule: String,
}

impl Invalid {
    /// `field` breaks `rule`.
    pub fn new(field: impl fmt::Display, why: Why, rule: impl Into<String>) -> Self {
        Self { field: field.to_string(), why, rule: rule.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}

impl std::error::Error for Invalid {}
