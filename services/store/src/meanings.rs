//! What the metrics of the backends mean, as `/metrics` tells it.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Says it to the recorder of the process.
pub fn describe() {
    describe_gauge!(
        "mingle_database_connections",
        "connections of a pool that are busy, are idle, and that there may be"
    );
    describe_gauge!("mingle_lane_waiting", "items that wait for their turn to be committed");
    describe_histogram!(
        "mingle_database_begin_seconds",
        Unit::Seconds,
        "time to begin a transaction that writes, the wait for a connection included"
    );
    describe_histogram!(
        "mingle_database_commit_seconds",
        Unit::Seconds,
        "time until a transaction was durable"
    );
    describe_counter!(
        "mingle_slow_statements_total",
        "SQL statements that took a second or longer, by name"
    );
    describe_histogram!(
        "mingle_redis_seconds",
        Unit::Seconds,
        "time to the answer of Redis, by script; of plain commands: command, pipeline"
    );
    describe_counter!("mingle_redis_failures_total", "calls that Redis did not answer, by why");
    describe_counter!(
        "mingle_redis_redirects_total",
        "questions that a server of a cluster sent elsewhere, by how: moved, ask, tryagain"
    );
}
