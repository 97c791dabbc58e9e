//! Secrets that the daemon reads, and whoever types a command may not.
//!
//! The service is handed them by systemd ([`crate::secrets`]). A file that is withheld is none that is wrong: nothing
//! is to be written into it.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::config::{Api, SecretFile, TlsFiles};
use crate::secrets;

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
            SecretFile::Credential(_) if env::var_os("CREDENTIALS_DIRECTORY").is_some() => None,
            SecretFile::Credential(_) => Some(Withheld::Credential(secret.to_string())),
        }
    }

    /// Whether the file at `path` is withheld. Blocks on the file system.
    pub fn file(path: &Path) -> Option<Withheld> {
        let nonblocking = OFlags::NONBLOCK.bits() as i32; // or opening a pipe would wait for its writer
        let opened = File::options().read(true).custom_flags(nonblocking).open(secrets::locate(path));
        let is_refused = opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        is_refused.then(|| Withheld::File(path.to_owned()))
    }

    /// What is withheld of all that the API needs. Blocks on the file system.
    pub fn of_api(api: &Api) -> Option<Withheld> {
        let of_tls =
            |files: &TlsFiles| Withheld::file(&files.certificate).or_else(|| Withheld::file(&files.key));
        api.token_file.as_ref().and_then(Withheld::secret).or_else(|| api.tls.as_ref().and_then(of_tls))
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
