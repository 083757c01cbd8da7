//! Values that many processes share, on Redis.
//!
//! | key | holds | lives |
//! | --- | --- | --- |
//! | `{c:<namespace>:<key>}:1:e` | the value, see `lua/kept.lua` | until its hard end |
//! | `{c:<namespace>:<key>}:1:l` | who loads it, and the versions that were captured | as long as the lease |
//! | `{ct:<namespace>:<tag>}:1` | the version of a tag, random; of an empty tag, that of the namespace | an hour longer than the longest value, from its last use |
//!
//! Value and lease of a key are of one slot, each tag is of its own: whether a value is
//! void by its tags is judged by who reads it. The time is the server's.
//!
//! Values and leases are of one *life* of the server's data, the fence's generation:
//! after a restart, a restored snapshot or a failover none of before counts, since a
//! deletion may be lost with the data that is. A server that may evict may evict any of
//! these: a value is loaded again, as one whose version is gone is.

mod codec;
mod keys;
mod scripts;
mod store;

pub use store::RedisStore;
