//! The bus: one suite over every kind, and what faults do to those that have
//! servers.

mod conformance;
mod memory;
mod reader;
