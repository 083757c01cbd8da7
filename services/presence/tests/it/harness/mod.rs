//! What the tests stand on.

mod apart;
mod heard;
pub(crate) mod lossy;
pub(crate) mod servers;
pub(crate) mod through;
mod translate;
pub(crate) mod wire;
pub(crate) mod world;
