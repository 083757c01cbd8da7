//! The conformance suite over each backend.

use crate::conformance::suite;

suite!(sqlite, crate::conformance::Subject::sqlite());
