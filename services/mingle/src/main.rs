//! The `mingle` command: the composition root, the only crate that knows all
//! the others.

mod backends;
mod check;
mod cli;
mod compose;
mod migrate;
mod probe;
mod secrets;
mod servers;
mod tell;
mod vigil;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    cli::run()
}
