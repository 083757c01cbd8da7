//! What the tests stand on.

pub(crate) mod wire;
pub(crate) mod world;
