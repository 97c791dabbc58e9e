//! A file that somebody has named: opened without waiting, and only where it is one.
//!
//! Opening a pipe waits for its writer, reading a device may never end, and opening one may do something: none of
//! them is opened at all.

use std::fs::{self, File, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::error::Error;
use crate::plain_file;

/// Opens it for reading. A link counts as what it leads to. A file system that does not answer is still waited for.
///
/// # Errors
/// Where it cannot be read, or is a pipe, a folder, a device or a socket.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    let cannot_read = |source| Error::File { path: path.to_owned(), source };
    let kind = fs::metadata(path).map_err(cannot_read)?.file_type();
    if !kind.is_file() {
        return Err(Error::NotAFile { path: path.to_owned(), kind: named(kind) });
    }
    plain_file::open(path).map_err(cannot_read) // it may have become a pipe meanwhile
}

fn named(kind: FileType) -> &'static str {
    match kind {
        pipe if pipe.is_fifo() => "a pipe",
        folder if folder.is_dir() => "a folder",
        socket if socket.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType as Kind, Mode, mknodat};

    use super::*;

    #[test]
    fn only_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let refused = |path: &Path| open(path).unwrap_err().to_string();
        mknodat(CWD, at("pipe"), Kind::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::write(at("clip"), "x").unwrap();
        std::os::unix::fs::symlink(at("clip"), at("to the clip")).unwrap();
        std::os::unix::fs::symlink(at("pipe"), at("to the pipe")).unwrap();

        assert!(open(&at("clip")).is_ok() && open(&at("to the clip")).is_ok());
        assert_eq!(refused(&at("pipe")), format!("{} is a pipe, and no file", at("pipe").display()));
        assert!(refused(&at("to the pipe")).ends_with("/to the pipe is a pipe, and no file"));
        assert!(refused(&at("socket")).ends_with("/socket is a socket, and no file"));
        assert!(refused(folder.path()).ends_with(" is a folder, and no file"));
        assert_eq!(refused(Path::new("/dev/zero")), "/dev/zero is a device, and no file");
        assert!(matches!(open(&at("nowhere")), Err(Error::File { .. })));
    }
}
