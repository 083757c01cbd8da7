//! A disk that is soon full.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use crate::server::must;

/// Mounts, says so, and waits for the end of a pipe that only the test process
/// holds; whatever ends that process ends the mount.
const KEEPER: &str = "mount -t tmpfs -o size=$2m,mode=755 mingle-tests \"$1\" || exit
echo mounted
while read -r _; do :; done
umount -l \"$1\"
rmdir \"$1\"";
/// What one write of the filler takes.
const CHUNK: usize = 64 * 1024;
/// The least that the filesystem gives.
const PAGE: usize = 4 * 1024;

/// A filesystem of a few megabytes in a temporary folder, gone with this value
/// or with the test process.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    keeper: Child,
    open: Option<ChildStdin>,
}

impl Disk {
    /// One of so many megabytes.
    ///
    /// # Panics
    ///
    /// When it cannot be mounted, which needs root.
    #[must_use]
    pub fn of(megabytes: u32) -> Self {
        let folder = must(tempfile::Builder::new().prefix("mingle-disk-").tempdir(), "a folder");
        let folder = folder.keep();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "mingle-disk"]).arg(&folder).arg(megabytes.to_string());
        // Its own process group: an interrupt at the terminal is for the test.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = must(command.spawn(), "the keeper of a disk");
        let open = keeper.stdin.take();
        let mut answer = [0; 8];
        let mounted = keeper.stdout.as_mut().map(|out| out.read_exact(&mut answer));
        assert!(
            matches!(mounted, Some(Ok(()))) && answer == *b"mounted\n",
            "no filesystem could be mounted at {}: that needs root",
            folder.display()
        );
        Self { folder, keeper, open }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room there is. What others free is theirs again, until the
    /// next call.
    ///
    /// # Panics
    ///
    /// When a write fails for another reason than the want of room.
    pub fn fill(&self) {
        let file = File::options().create(true).append(true).open(self.filler());
        let mut file = must(file, "the filler");
        for size in [CHUNK, PAGE] {
            loop {
                match file.write(&vec![b'x'; size]) {
                    Ok(written) if written == size => {}
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("the filler: {error}"),
                }
            }
        }
    }

    /// Gives back what [`Disk::fill`] took.
    ///
    /// # Panics
    ///
    /// When nothing was taken.
    pub fn free(&self) {
        must(fs::remove_file(self.filler()), "the filler");
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.open = None;
        let _ = self.keeper.wait();
    }
}
