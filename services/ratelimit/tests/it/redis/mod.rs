//! What is of Redis only: its keys, and what fails.

mod faults;
mod keys;
mod paces;
