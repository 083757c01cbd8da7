//! What the kernel says of a process and of the machine.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};

/// At a process whose children end meanwhile.
const LOOKS: usize = 100;

/// CPU time of process `pid` so far, user and system, all its threads. Counted
/// in ticks, usually of 10 ms.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    time(ticks(&text).with_context(|| format!("cannot read {path}"))?)
}

/// The same of process `pid` and its children, those that ended included.
///
/// **Errors**: also when children end without a pause meanwhile.
pub(crate) fn family_cpu(pid: u32) -> anyhow::Result<Duration> {
    for _ in 0..LOOKS {
        let before = with_ended(pid)?;
        let children = fs::read_dir("/proc").context("/proc")?.flatten().filter_map(|entry| {
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            let text = fs::read_to_string(entry.path().join("stat")).ok()?;
            (parent(&text)? == pid).then(|| ticks(&text))?
        });
        let (living, (own, ended)) = (children.sum::<u64>(), with_ended(pid)?);
        // Otherwise a child went over from one sum to the other.
        if ended == before.1 {
            return time(own + ended + living);
        }
    }
    bail!("the children of {pid} end all the time")
}

fn time(ticks: u64) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
}

/// Ticks of process `pid` itself and of its children that ended.
fn with_ended(pid: u32) -> anyhow::Result<(u64, u64)> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ended = field(&text, 13).zip(field(&text, 14)).map(|(user, system)| user + system);
    ticks(&text).zip(ended).with_context(|| format!("cannot read {path}"))
}

/// Resident memory of process `pid` in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    resident_kib(&text).map(|kib| kib * 1024).with_context(|| format!("cannot read {path}"))
}

/// utime + stime of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    Some(field(stat, 11)? + field(stat, 12)?)
}

fn parent(stat: &str) -> Option<u32> {
    u32::try_from(field(stat, 1)?).ok()
}

/// A number of `/proc/PID/stat`, counted from behind the name of the program,
/// which, in parentheses, may hold anything.
fn field(stat: &str, at: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(at)?.parse().ok()
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The kind of file system that `path` is on; empty when unknown.
pub(crate) fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounted(&mounts, &path).unwrap_or_default().to_owned()
}

/// The kind of the innermost mount that holds `path`; of two on one folder, the
/// later one.
fn mounted<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let holding = mounts.filter(|(folder, _)| path.starts_with(folder));
    holding.max_by_key(|(folder, _)| folder.components().count()).map(|(_, kind)| kind)
}

/// The load of the last minute, other programs' included; empty when unknown.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The kernel's release; empty when unknown.
pub(crate) fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process};

    use super::{cpu, family_cpu, mounted, parent, resident, resident_kib, ticks};

    #[test]
    fn cpu_ticks_are_found_whatever_the_program_is_called() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 250 17 0 0 20 0 4 0 99";
        assert_eq!(ticks(&format!("42 (mingle) {rest}")), Some(267));
        assert_eq!(ticks(&format!("42 (a) b (c) {rest}")), Some(267));
        assert_eq!(ticks("42 (mingle) S 1 2"), None);
        assert_eq!(parent(&format!("42 (a) b (c) {rest}")), Some(1));
    }

    #[test]
    fn a_family_is_at_least_the_process_itself() {
        let before = cpu(process::id()).unwrap();
        assert!(family_cpu(process::id()).unwrap() >= before);
        assert!(family_cpu(u32::MAX).is_err());
    }

    #[test]
    fn resident_memory_is_in_kib() {
        let status = "Name:\tmingle\nVmHWM:\t  9000 kB\nVmRSS:\t  8124 kB\nThreads:\t4\n";
        assert_eq!(resident_kib(status), Some(8124));
        assert_eq!(resident_kib("Name:\tkthreadd\n"), None);
        assert!(resident(process::id()).unwrap() > 100_000);
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmpfoo xfs rw 0 0";
        assert_eq!(mounted(mounts, Path::new("/tmp/a")), Some("tmpfs"));
        assert_eq!(mounted(mounts, Path::new("/tmpfo")), Some("ext4"));
        assert_eq!(mounted("", Path::new("/tmp")), None);
    }
}
