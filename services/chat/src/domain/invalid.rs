//! A request that is wrong whatever the state of the system.

use std::{error::Error, fmt};

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is empty or absent.
    Required,
    /// It is longer, larger or more numerous than its bound.
    TooLong,
    /// It holds what it cannot hold.
    Malformed,
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// As the proto names it.
    pub field: &'static str,
    /// What is wrong.
    pub fault: Fault,
    /// For humans; never holds what was sent.
    pub why: String,
}

impl Invalid {
    /// `field` is at fault.
    pub fn new(field: &'static str, fault: Fault, why: impl Into<String>) -> Self {
        Self { field, fault, why: why.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

impl Error for Invalid {}
