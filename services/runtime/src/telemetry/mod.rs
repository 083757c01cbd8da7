//! Logs, trace context, spans and metrics of a process.
//!
//! Every RPC runs in a span whose trace context comes from the caller (W3C
//! `traceparent`) or begins here. The context is readable by services, which
//! put it into messages and envelopes. Spans leave the process only where
//! [`Export`] finds an address for them.

mod context;
mod exemplar;
mod export;
mod observe;
mod recent;
mod setup;
mod trail;

pub use context::{TRACEPARENT, adopt, continue_from, inject, trace_id, traceparent};
pub use export::{Export, flush, is_exporting};
pub use observe::{observe, observe_lane};
pub use recent::{Lately, recent};
pub use setup::{init, keep_up, render_metrics, start};
