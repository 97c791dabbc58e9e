//! Only one daemon keeps something in a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Disk, Error, Store};

/// Whoever has this is the only daemon that keeps something there, until it is dropped or its process has ended.
#[derive(Debug)]
pub struct Hold {
    /// `None` where nothing can be kept, by others neither.
    _lock: Option<File>,
    /// Why nothing can be kept there, as it seems.
    pub trouble: Option<Error>,
}

/// Another daemon has it.
#[derive(Debug, thiserror::Error)]
#[error("another uplinkd{} keeps its state in {}", process.map(|id| format!(" (process {id})")).unwrap_or_default(), directory.display())]
pub struct Held {
    pub directory: PathBuf,
    /// As far as is known.
    pub process: Option<u32>,
}

impl Store {
    /// Keeps other daemons away. Where nothing can be written nobody needs to be: that is told in
    /// [`Hold::trouble`], and is no reason not to run.
    ///
    /// # Errors
    /// When another daemon was here first.
    pub fn hold(&self) -> Result<Hold, Held> {
        let (directory, path) = (self.disk.path(), self.disk.path().join(LOCK));
        let opened = self.disk.make().map_err(|source| self.error("make the directory of", LOCK, source));
        let mut file =
            match opened.and_then(|()| open(&path).map_err(|error| self.error("write", LOCK, error))) {
                Ok(file) => file,
                Err(trouble) => return Ok(Hold { _lock: None, trouble: Some(trouble) }),
            };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Held { directory: directory.to_owned(), process: process(&path) });
            }
            Err(TryLockError::Error(source)) => {
                let trouble = Some(self.error("lock", LOCK, source));
                return Ok(Hold { _lock: None, trouble });
            }
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        let trouble = written.err().map(|source| self.error("write", LOCK, source));
        Ok(Hold { _lock: Some(file), trouble })
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(LOCK_MODE).open(path)
}

/// Whoever holds it wrote who it is.
fn process(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST_NUMBER).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The file that is locked; it stays, and says nothing once its daemon has ended.
const LOCK: &str = "lock";

/// Who holds it may be read by all.
const LOCK_MODE: u32 = 0o644;

/// Bytes; of a process, with room.
const LONGEST_NUMBER: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_of_the_first_until_that_has_gone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("state"));
        let first = store.hold().unwrap();
        assert!(first.trouble.is_none());
        let held = store.hold().unwrap_err();
        assert_eq!(held.process, Some(std::process::id()));
        assert!(held.to_string().starts_with("another uplinkd (process "), "{held}");
        drop(first);
        assert!(store.hold().is_ok());
    }

    #[test]
    fn where_nothing_can_be_kept_nobody_is_turned_away() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let store = Store::at(file.join("state"));
        let first = store.hold().unwrap();
        let trouble = first.trouble.as_ref().unwrap().to_string();
        assert!(trouble.starts_with("cannot make the directory of "), "{trouble}");
        assert!(store.hold().is_ok());
        assert_eq!(store.load().unwrap(), "", "and so nothing was kept");
        assert!(!store.take_back().unwrap());
    }
}
