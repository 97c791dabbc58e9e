//! The passphrase of an output, from its file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::plain_file;
use crate::secrets::{self, HAND_OVER};
use crate::transport::srt::{Passphrase, PassphraseLength};

/// Why a file gives no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    #[error("cannot read the passphrase file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("systemd has not handed over the passphrase file {}: {HAND_OVER}", path.display())]
    NotHandedOver { path: PathBuf },
    #[error("cannot use the passphrase in {}", path.display())]
    Unusable { path: PathBuf, source: PassphraseLength },
}

/// The file's text without the line's end. Blocks on the file system.
///
/// # Errors
/// Where the file cannot be read, or SRT allows no such passphrase.
pub fn load(path: &Path) -> Result<Passphrase, PassphraseError> {
    let text = read(path).map_err(|source| match secrets::awaits_restart(path, &source) {
        true => PassphraseError::NotHandedOver { path: path.to_owned() },
        false => PassphraseError::Unreadable { path: path.to_owned(), source },
    })?;
    Passphrase::new(text.trim_end_matches(['\r', '\n']))
        .map_err(|source| PassphraseError::Unusable { path: path.to_owned(), source })
}

fn read(path: &Path) -> io::Result<String> {
    let (bytes, _) = plain_file::read(&secrets::locate(path), LARGEST_SECRET)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no text"))
}

/// In KiB: far above the 79 bytes that SRT allows.
const LARGEST_SECRET: u64 = 4;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::causes::with_causes;

    #[test]
    fn a_passphrase_is_the_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for good in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            fs::write(file.path(), good).unwrap();
            assert!(load(file.path()).is_ok(), "{good:?}");
        }
        fs::write(file.path(), "horse\n").unwrap();
        let said = with_causes(&load(file.path()).unwrap_err());
        assert!(said.ends_with("has 5 bytes; SRT allows 10 to 79"), "{said}");
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        for path in ["/nonexistent", "/", "/dev/zero"] {
            let said = with_causes(&load(Path::new(path)).unwrap_err());
            assert!(said.starts_with(&format!("cannot read the passphrase file {path}: ")), "{said}");
        }
    }
}
