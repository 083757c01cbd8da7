//! What is wrong with a request.

use mingle_proto::errors::v1::Reason;

/// Why a request is refused, whatever the state of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field at fault, as a proto path.
    pub field: String,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people; without the field's name.
    pub why: String,
}

impl Refusal {
    /// A refusal of `field`.
    pub fn new(field: impl Into<String>, reason: Reason, why: impl Into<String>) -> Self {
        Self { field: field.into(), reason, why: why.into() }
    }
}
