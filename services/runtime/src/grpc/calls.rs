//! Count and time of the calls of each method.

use std::{sync::OnceLock, time::Duration};

use metrics::{Counter, Histogram};
use tonic::Code;

use super::methods::{self, Method};

pub(crate) const RPCS: &str = "mingle_rpcs_total";
pub(crate) const RPC_SECONDS: &str = "mingle_rpc_duration_seconds";

/// The codes of gRPC, by number.
const CODES: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

/// What is recorded of each method. It is looked up once: to name it costs more than to
/// count.
pub(super) struct Calls(Box<[OnceLock<Of>]>);

/// Of one method.
struct Of {
    ended: [OnceLock<Counter>; CODES.len()],
    took: Histogram,
}

impl Calls {
    /// Of all methods. What measures has to be there already.
    pub(super) fn new() -> Self {
        Self((0..methods::count()).map(|_| OnceLock::new()).collect())
    }

    /// A call was answered, or a stream begun, after so long.
    pub(super) fn record(&self, method: &'static Method, code: Code, took: Duration) {
        let (service, name) = (method.service.as_str(), method.name.as_str());
        let Some(of) = self.0.get(method.number) else { return };
        let of = of.get_or_init(|| Of {
            ended: [const { OnceLock::new() }; CODES.len()],
            took: metrics::histogram!(RPC_SECONDS, "service" => service, "method" => name),
        });
        of.took.record(took);
        let number = usize::try_from(i32::from(code)).unwrap_or_default();
        let (Some(ended), Some(code)) = (of.ended.get(number), CODES.get(number)) else { return };
        let counter =
            || metrics::counter!(RPCS, "service" => service, "method" => name, "code" => *code);
        ended.get_or_init(counter).increment(1);
    }
}

/// Says what the metrics of every process mean.
pub(crate) fn describe() {
    metrics::describe_gauge!("mingle_degraded", "1 while a state of this name is degraded");
    metrics::describe_counter!(
        "mingle_degraded_seconds_total",
        "seconds in which a state of this name was degraded"
    );
    metrics::describe_counter!(
        "mingle_rpcs_shed_total",
        "gRPC calls refused because as many are under way as may be"
    );
    metrics::describe_counter!(
        "mingle_peer_retries_total",
        "calls to another role that were asked again of another instance"
    );
    metrics::describe_counter!(RPCS, "gRPC calls answered, by status code");
    metrics::describe_histogram!(
        RPC_SECONDS,
        metrics::Unit::Seconds,
        "time to the answer of a gRPC call, or to the first one of a stream"
    );
}
