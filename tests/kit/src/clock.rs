//! A process whose clock is wrong: libfaketime between the process and the
//! machine.

use std::{fs, path::PathBuf};

use crate::server::must;

/// What to set in the environment of a process for its clock of the day to be
/// so far ahead of the machine's, or behind. Time still passes as it does:
/// timers and deadlines are not touched.
///
/// # Panics
///
/// When libfaketime is not installed.
#[must_use]
pub(crate) fn ahead_by(seconds: i64) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", library().display().to_string()),
        ("FAKETIME", format!("{seconds:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}

/// Takes away what libfaketime has in /dev/shm for children of a process, which
/// it would leave there when it is killed. The process itself goes on with it.
pub(crate) fn forget(pid: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        let path = format!("/dev/shm/{name}{pid}");
        must(fs::remove_file(&path), &path);
    }
}

/// Debian keeps it in a folder of the machine's architecture.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists());
    match found {
        Some(library) => library,
        None => panic!("libfaketime is not installed: ./tests/run installs it"),
    }
}
