//! The `mingle` command: the composition root, the only crate that knows all
//! the others.

mod cli;
mod compose;
mod secrets;
mod tell;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
