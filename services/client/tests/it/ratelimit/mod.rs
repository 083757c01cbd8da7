//! The limiter and its layer, against a service that says what the test wants.

mod charges;
mod gather;
mod layer;
mod limiter;
mod service;
