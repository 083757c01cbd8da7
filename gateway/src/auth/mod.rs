//! Who connects: tokens, resume tokens, origins.

pub(crate) mod grant;
pub(crate) mod origin;
pub(crate) mod refusals;
pub(crate) mod resume;
pub(crate) mod token;
