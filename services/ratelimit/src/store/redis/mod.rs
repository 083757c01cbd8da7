//! Limits counted together by many processes, on Redis.
//!
//! | key | holds | lives |
//! | --- | --- | --- |
//! | `{rl:<subject>}:1:l:<limit>` | the state of a limit, see `lua/count.lua` | until it is as if unused |
//! | `{rl:<subject>}:1:c:<charge>` | what was charged and its marks, as text | as charges are remembered |
//! | `{rl-instances}:1` | the instances by when each was last heard | 5 s after the last of them |
//!
//! Subjects and charges are in keys by 128 bits of their SHA-256: of one length
//! whatever they hold, and not to be read by whoever reads the server. All
//! keys of a subject are of one slot. The time is the server's.
//!
//! A server that restarted empty counts anew: until a window has passed a
//! subject may have used its quota once more.

mod instances;
mod keys;
mod scripts;
mod slices;
mod store;

pub(in crate::store) use instances::LOST_MS;
pub use slices::{Taken, Wanted};
pub use store::RedisStore;
