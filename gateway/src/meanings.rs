//! What the gateway's metrics mean, as `/metrics` tells it.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Says it to the recorder of the process.
pub(crate) fn describe() {
    describe_counter!("mingle_gateway_accepts_total", "connections accepted");
    describe_counter!(
        "mingle_gateway_accepts_delayed_total",
        "connections that had to wait for the accept rate"
    );
    describe_gauge!("mingle_gateway_sockets", "WebSocket connections that are greeted");
    describe_counter!(
        "mingle_gateway_slow_sockets_total",
        "sockets closed because they did not take what waited for them"
    );
    describe_gauge!("mingle_gateway_hellos", "hellos that are worked on, or wait for their turn");
    describe_counter!("mingle_gateway_hellos_refused_total", "hellos answered OVERLOADED");
    describe_gauge!(
        "mingle_gateway_replays",
        "pages of missed events that are read, or wait for their turn"
    );
    describe_gauge!(
        "mingle_gateway_session_ends",
        "ends of sessions that are told to presence, or wait for their turn"
    );
    describe_counter!(
        "mingle_gateway_refusals_total",
        "requests of clients that were refused or failed, by reason"
    );
    describe_histogram!(
        "mingle_delivery_lag_seconds",
        Unit::Seconds,
        "from the commit of an event, by the clock of its chat, to its socket's queue"
    );
    describe_counter!(
        "mingle_delivery_lag_negative_total",
        "events from a clock that is ahead of this one; their lag counts as 0"
    );
    describe_counter!("mingle_gateway_tokens_refused_total", "users' tokens refused, by why");
}
