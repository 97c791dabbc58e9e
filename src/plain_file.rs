//! Files that somebody has named, which may be anything: opened without waiting, and read where they are plain and small.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens it for reading, whatever it is. A pipe's writer is not waited for.
///
/// # Errors
/// As of [`File::open`].
pub fn open(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).custom_flags(nonblocking).open(path)
}

/// Whether it is there, and this process may not open it.
pub fn is_refused(path: &Path) -> bool {
    open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// All of it, and what it is. A pipe would hang, a device would never end, and a large file is a wrong path: none of them
/// is read.
///
/// # Errors
/// When it cannot be read, is no plain file, or has more than `limit` KiB.
pub fn read(path: &Path, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    let (mut bytes, most) = (Vec::new(), limit * 1024);
    if metadata.is_file() {
        file.take(most + 1).read_to_end(&mut bytes)?;
    }
    if !metadata.is_file() || bytes.len() as u64 > most {
        let problem = format!("it is no plain file of at most {limit} KiB");
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    }
    Ok((bytes, metadata))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_plain_and_small_is_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(at("small"), [b'x'; 1024]).unwrap();
        fs::write(at("large"), [b'x'; 1025]).unwrap();
        assert_eq!(read(&at("small"), 1).unwrap().0.len(), 1024);
        for other in [&at("large"), &at("pipe"), folder.path(), Path::new("/dev/zero")] {
            let said = read(other, 1).unwrap_err().to_string();
            assert_eq!(said, "it is no plain file of at most 1 KiB", "{}", other.display());
        }
        assert_eq!(read(&at("nowhere"), 1).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!is_refused(&at("nowhere")) && !is_refused(&at("pipe")));
    }
}
