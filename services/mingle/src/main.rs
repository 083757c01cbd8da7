//! The `mingle` command: the composition root, the only crate that knows all
//! the others.

mod backends;
mod check;
mod cli;
mod compose;
mod judge;
mod limits;
mod load;
mod migrate;
mod probe;
mod secrets;
mod servers;
mod show;
mod tell;
mod token;
mod vigil;

use std::process::ExitCode;

/// Calls and sockets allocate and free on whichever thread they run: the allocator
/// of the system took a quarter of the CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    cli::run()
}
