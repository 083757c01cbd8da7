//! How it was measured: what belongs beside every figure.

use std::thread;

use crate::{
    plan::Plan,
    proc,
    report::Report,
    system::{self, System},
};

/// Writes the machine, the build and the settings that cost time.
pub(crate) async fn describe(
    report: &mut Report,
    plan: &Plan,
    system: &System,
) -> anyhow::Result<()> {
    machine(report);
    report.set(
        "server",
        format!("{} ({})", system::build(system.grpc()?).await?, plan.binary.display()),
    );
    let kind = file_system(plan);
    report
        .set("database", format!("SQLite, WAL, synchronous=FULL (an fsync per commit), on {kind}"));
    telemetry(report);
    Ok(())
}

/// Writes what the servers tell of themselves meanwhile.
pub(crate) fn telemetry(report: &mut Report) {
    report.set("telemetry", "metrics and logs at info, no exporter of traces");
}

/// The kind of file system that the data is on.
pub(crate) fn file_system(plan: &Plan) -> String {
    proc::file_system(plan.dir())
}

/// Writes the machine and the build of this program.
pub(crate) fn machine(report: &mut Report) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = proc::kernel();
    report.set("machine", format!("{cores} cores, kernel {kernel}, load {} before", proc::load()));
    let own = if cfg!(debug_assertions) { "debug: not to be compared" } else { "release" };
    report.set("generator and floor", format!("{own}, on the same machine"));
}
