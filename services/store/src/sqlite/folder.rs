//! The folder of the embedded database: one process at a time.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access, statvfs};

use super::{FILE, OpenError};

const LOCK: &str = "lock";

/// What opening a data folder would meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The folder, or the nearest above it that is there: it would be made in it.
    pub path: PathBuf,
    /// True when there is a database in it.
    pub is_used: bool,
    /// Bytes that may still be written there.
    pub room: u64,
}

impl Folder {
    /// Looks at `dir` and makes nothing. The lock is held for an instant, with
    /// whoever else only looks.
    ///
    /// **Errors**: those of [`Sqlite::open`](super::Sqlite::open), as far as they
    /// can be known without writing.
    pub fn look(dir: &Path) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { dir: dir.to_owned(), source };
        let path = nearest(dir).map_err(folder)?;
        may(&path, Access::WRITE_OK | Access::EXEC_OK).map_err(folder)?;
        let mut is_used = false;
        if path == dir {
            for (name, is_database) in [(LOCK, false), (FILE, true)] {
                let file = dir.join(name);
                if file.try_exists().map_err(folder)? {
                    may(&file, Access::READ_OK | Access::WRITE_OK).map_err(folder)?;
                    is_used |= is_database;
                }
            }
            match File::open(dir.join(LOCK)) {
                Ok(file) => {
                    taken(file.try_lock_shared(), dir)?;
                    drop(Lock(file));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(folder(error)),
            }
        }
        let disk = statvfs(&path).map_err(|error| folder(error.into()))?;
        Ok(Self { path, is_used, room: disk.f_bavail.saturating_mul(disk.f_frsize) })
    }
}

/// Makes the folder where there is none, and locks it.
pub(super) fn lock(dir: &Path) -> Result<Lock, OpenError> {
    let folder = |source| OpenError::Folder { dir: dir.to_owned(), source };
    // What people say to each other is for this user's eyes.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(folder)?;
    let file = File::create(dir.join(LOCK)).map_err(folder)?;
    taken(file.try_lock(), dir)?;
    Ok(Lock(file))
}

/// A lock that is held. Dropped, it is let go of at once: closing the file would not
/// do while a child that is being started has a copy of it, until it executes.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Who cannot say so lets go by closing.
        let _ = self.0.unlock();
    }
}

fn taken(locked: Result<(), TryLockError>, dir: &Path) -> Result<(), OpenError> {
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::Locked(dir.to_owned()),
        TryLockError::Error(source) => OpenError::Folder { dir: dir.to_owned(), source },
    })
}

/// The folder itself, or the nearest above it that is there.
fn nearest(dir: &Path) -> io::Result<PathBuf> {
    for above in dir.ancestors() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => return Ok(above.to_owned()),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn may(path: &Path, access_wanted: Access) -> io::Result<()> {
    Ok(access(path, access_wanted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_being_started_holds_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let lock = super::lock(dir.path()).unwrap();
        // What a fork has of it.
        let copy = lock.0.try_clone().unwrap();
        assert!(matches!(super::lock(dir.path()), Err(OpenError::Locked(_))));
        drop(lock);
        drop(super::lock(dir.path()).unwrap());
        drop(copy);
    }
}
