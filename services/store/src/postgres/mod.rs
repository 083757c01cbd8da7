//! PostgreSQL: the truth of a deployment of many processes.
//!
//! One pool per process. Each session says `synchronous_commit=on` and that it
//! is no standby before it is used, so that a fail-over to a server that
//! acknowledges too early is noticed and not only a start on one.
//!
//! | what happens | what a call gets |
//! | --- | --- |
//! | server away, refusing, starting, a standby | the call that finds it: as below; those that wait: `Timeout` once it is known; then `Unavailable` at once, see [`Gate`] |
//! | server out of connections | `Unavailable` within [`Options::acquire`] |
//! | no connection free within [`Options::acquire`] | `Unavailable`; nothing was begun |
//! | a connection breaks under a statement | `Unavailable`; after a COMMIT it is unknown whether it happened |
//! | a statement runs for 9/10 of [`Options::answer`] | `Timeout`, cancelled by the server |
//! | the server is frozen or out of reach | `Timeout` within three seconds, at most after [`Options::answer`]; what it has in its socket it executes when it wakes |
//! | the host vanishes without a word and another takes its place | as away, until no connection has come back for acquire and answer together; then another pool |
//! | a lock timeout | `Unavailable`; rolled back |
//! | a unique constraint, a serialization failure, a deadlock | `Conflict`; rolled back |
//! | a value that does not fit, another constraint, damage | `Corrupt` |
//! | a statement or login the server does not accept | `Unsupported` |
//!
//! A broken connection costs the call that finds it; one idle for a second is
//! tested before it is used. Nothing is retried here: what is safe to repeat
//! is the caller's knowledge.

mod code;
mod gate;
mod inspect;
mod migrate;
mod options;
mod pool;
mod pooler;
mod pools;

pub(crate) use code::kind;
pub use gate::Gate;
pub use inspect::{Inspected, Places};
pub use options::Options;
pub use pool::{Postgres, within};
