//! The conformance suite over each backend.

use crate::conformance::suite;

suite!(sqlite, Subject::sqlite());
suite!(grpc, Subject::grpc(), validated);
