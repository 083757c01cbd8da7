//! The conformance suite over each backend.

use crate::conformance::suite;

suite!(sqlite, Subject::sqlite());
suite!(postgres, Subject::postgres());
suite!(grpc, Subject::grpc(), validated);
