//! Secrets that the daemon reads, and whoever types a command may not.
//!
//! The service is handed them by systemd ([`crate::secrets`]). A file that is withheld is none that is wrong: nothing
//! is to be written into it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::SecretFile;
use crate::{plain_file, secrets};

/// What this process cannot look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// This user may not open it.
    File(PathBuf),
    /// systemd hands it over to the service, and this process has none.
    Credential(String),
}

impl Withheld {
    /// Whether `secret` is withheld. Blocks on the file system.
    pub fn secret(secret: &SecretFile) -> Option<Withheld> {
        match secret {
            SecretFile::Path(path) => Withheld::file(path),
            SecretFile::Credential(_) if secrets::is_service() => None, // a start that does not find it ends, too
            SecretFile::Credential(_) => Some(Withheld::Credential(secret.to_string())),
        }
    }

    /// Whether the file at `path` is withheld. Blocks on the file system.
    pub fn file(path: &Path) -> Option<Withheld> {
        plain_file::is_refused(&secrets::locate(path)).then(|| Withheld::File(path.to_owned()))
    }

    /// Whether systemd may hand it over when it starts this service the next time.
    pub fn may_come(&self) -> bool {
        match self {
            Withheld::File(path) => secrets::is_handed_over(path) && secrets::is_service(),
            Withheld::Credential(_) => false, // this is no service
        }
    }

    /// What helps who wants it checked.
    pub fn unchecked(&self) -> String {
        match self {
            Withheld::File(_) => format!("{self}, and it cannot be checked; run this with sudo"),
            Withheld::Credential(_) => format!("{self}, and it cannot be checked here"),
        }
    }

    /// What helps who cannot go on without it.
    pub fn needed(&self) -> String {
        match self {
            Withheld::File(_) => format!("{self}; run this with sudo"),
            Withheld::Credential(_) => {
                format!(
                    "{self}; name the daemon with --url, and a file with the same token with --token-file"
                )
            }
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withheld::File(path) => write!(f, "this user may not read {}", path.display()),
            Withheld::Credential(name) => write!(f, "only the service is given {name}"),
        }
    }
}
