//! How it was measured: what belongs beside every figure.

use std::thread;

use crate::{plan::Plan, proc, report::Report, system::System};

/// Writes the machine, the build and the settings that cost time.
pub(crate) async fn describe(
    report: &mut Report,
    plan: &Plan,
    system: &System,
) -> anyhow::Result<()> {
    machine(report);
    report.set("server", format!("{} ({})", system.build().await?, plan.binary.display()));
    let kind = proc::file_system(plan.dir());
    report
        .set("database", format!("SQLite, WAL, synchronous=FULL (an fsync per commit), on {kind}"));
    report.set("telemetry", "metrics and logs at info, no exporter of traces");
    Ok(())
}

/// Writes the machine and the build of this program.
pub(crate) fn machine(report: &mut Report) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = proc::kernel();
    report.set("machine", format!("{cores} cores, kernel {kernel}, load {} before", proc::load()));
    let own = if cfg!(debug_assertions) { "debug: not to be compared" } else { "release" };
    report.set("generator and floor", format!("{own}, on the same machine"));
}
