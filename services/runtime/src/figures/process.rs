//! The process as its operating system sees it.

use mingle_proto::runtime::v1 as pb;

/// Reads it; `None` where it cannot be read.
#[cfg(target_os = "linux")]
pub(super) fn look() -> Option<pb::Process> {
    read().inspect_err(|error| tracing::debug!(%error, "/proc cannot be read")).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn look() -> Option<pb::Process> {
    None
}

/// Shows it as metrics, by the names that Prometheus' own clients have for it.
pub(super) fn show() {
    let Some(process) = look() else { return };
    metrics::gauge!("process_resident_memory_bytes").set(process.resident_bytes as f64);
    // A counter would be of whole seconds.
    metrics::gauge!("process_cpu_seconds_total").set(process.cpu_seconds);
    metrics::gauge!("process_threads").set(process.threads);
    metrics::gauge!("process_open_fds").set(process.open_files as f64);
    metrics::gauge!("process_max_fds").set(process.max_open_files as f64);
}

/// Says what these mean.
pub(super) fn describe() {
    metrics::describe_gauge!("process_resident_memory_bytes", "resident memory of the process");
    metrics::describe_gauge!("process_cpu_seconds_total", "CPU time, of the kernel's for it too");
    metrics::describe_gauge!("process_threads", "threads of the process");
    metrics::describe_gauge!("process_open_fds", "sockets, files and all else that is open");
    metrics::describe_gauge!("process_max_fds", "as many may be open; 0: no bound");
}

#[cfg(target_os = "linux")]
fn read() -> procfs::ProcResult<pb::Process> {
    use procfs::process::{LimitValue, Process};

    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = (stat.utime + stat.stime) as f64;
    let max_open_files = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Unlimited => 0,
        LimitValue::Value(most) => most,
    };
    Ok(pb::Process {
        resident_bytes: stat.rss * procfs::page_size(),
        cpu_seconds: ticks / procfs::ticks_per_second() as f64,
        threads: u32::try_from(stat.num_threads).unwrap_or(0),
        open_files: process.fd_count()? as u64,
        max_open_files,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;

    use super::look;

    #[test]
    fn what_is_opened_is_counted() {
        let before = look().unwrap();
        let _files: Vec<_> = (0..50).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let after = look().unwrap();
        // Other tests open and close some meanwhile.
        assert!(after.open_files > before.open_files + 25, "{before:?} {after:?}");
        assert!(after.resident_bytes > 1 << 20 && after.threads >= 1, "{after:?}");
        assert!(after.cpu_seconds >= before.cpu_seconds && after.max_open_files > 50);
    }
}
