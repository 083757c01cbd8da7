//! The shared parts of a process, each against its written guarantees.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asked;
mod config;
mod given_up;
mod remote;
mod shown;
mod sources;
mod stack;
