//! The `mingle` command: the composition root, the only crate that knows all
//! the others.

mod backends;
mod check;
mod cli;
mod compose;
mod judge;
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

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    cli::run()
}
