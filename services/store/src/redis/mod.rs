//! The shared index and fast path: never the only place of a fact.
//!
//! # Connections
//!
//! bb8 owns them; callers never check one out. Two *slots*, for commands and
//! for values over 16 KiB: a keeper leases one connection for each and
//! publishes it, callers clone it without waiting. Whoever sees it closed, or
//! silent three times in a row, empties the slot; until the keeper has leased
//! another, which takes at most a second from when the server can be reached,
//! calls fail at once. Each connection is asked for the server's time and
//! written to once a second, which finds a frozen server without traffic, and one
//! that takes no writes (OOM, MISCONF, READONLY, NOREPLICAS, BUSY, NOPERM): it is
//! away, for reads too, until it takes one, and asked at most once a second.
//!
//! Only after a connection was *closed* do callers wait for the first attempt
//! at another, until half the timeout after the loss: a killed connection
//! costs the calls in flight, or the next one, and none after.
//!
//! Behind Sentinel the server is the one that the sentinels name, see there: when
//! they name another, connections to the one before are given up for new ones,
//! however well it still answers.
//!
//! In a cluster each server has the keys of its slots and two such connections:
//! what is said here of the server is so of each of them alone.
//!
//! # What a failure means
//!
//! | what happened | the call's error | was it executed? |
//! | --- | --- | --- |
//! | no connection | `Unavailable`, at once | no |
//! | the connection closed while it waited | `Unavailable` | unknown |
//! | no answer within the timeout | `Timeout` | unknown: also later, when a frozen server wakes |
//! | the same, a script | `Timeout` | until its deadline or never: later it answers LATE, to nobody |
//! | a script came too late | `Unavailable` | no |
//! | a server of a cluster sends elsewhere | none: it is asked there, until the timeout | no, before that |
//! | the key's slot is had by nobody, or on its way for too long | `Unavailable` | no |
//! | the server refuses: LOADING, READONLY, OOM, BUSY, … | `Unavailable` | no; of a pipeline, some may be |
//! | a value of another type than expected | `Corrupt` | a script until there |
//! | other errors of the server: a script's fault | `Unsupported` | a script until there |
//!
//! An unknown outcome is retried by whoever holds the request key or the
//! generation that makes the second run harmless: a call may have run twice.
//! Nothing here retries, except what has done nothing the first time: a script the
//! server has forgotten (after a restart or SCRIPT FLUSH) is sent again with its
//! text, and what a server of a cluster has not is asked of the one that has it.
//!
//! A deadline is translated to the server's clock by an offset measured on
//! every connection and with each beat, rather early than late: by the round
//! trip of the best measurement. When one of the two clocks is set, deadlines are
//! off by as much until the next beat.
//!
//! A server that is unfit is as one that is away: one that may evict what is
//! kept, unless that may be forgotten, a sentinel, a node of a cluster that was not called one, or no node of what
//! was. INFO tells, on every new connection.
//!
//! # Fence
//!
//! A server that restarted, was restored, or was promoted must not be believed
//! as before. `<prefix>mingle:{fence}` holds `{run_id, generation}`; every new
//! connection compares it with INFO before it is published, and a difference
//! starts a new generation, told by [`Redis::fence`]. Data that is emptied under a
//! server that lives on is noticed by the next beat. The key has no TTL: it
//! lives exactly as long as the data beside it.

mod ask;
mod batch;
mod client;
pub(crate) mod cluster;
pub(crate) mod fault;
mod fence;
mod inspect;
pub(crate) mod link;
mod manager;
mod node;
mod options;
mod patient;
mod place;
mod said;
mod script;
mod sentinel;
mod servers;
mod slot;
mod took;
mod url;
mod vitals;

pub use batch::Batch;
pub use client::Redis;
pub use fence::Generation;
pub use options::{Options, OptionsError, Tls};
pub use said::{Inspected, Keeps, Unfit, Unwilling};
pub use script::{Arg, Call, Script};
