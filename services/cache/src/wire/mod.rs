//! Messages as the domain, and back.

mod fields;
mod reply;
mod request;

pub(crate) use fields::{actor, named, required, too_many};
pub(crate) use reply::{filled, read};
pub(crate) use request::{
    Asked, Loaded, entries, entry, fill, followed, key, keys, many, one, tag, version_of, warmed,
    whole,
};
