//! Where a secret's file is read: its own place, or where systemd has handed it over.
//!
//! The service's user is nobody in particular and cannot open what belongs to root alone. systemd can: what lies in
//! [`FOLDER`] when the service starts is there for it to read in `$CREDENTIALS_DIRECTORY`. The configuration and its
//! owner know only the file's own path.

use std::env;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::plain_file;

/// The path at which the file that the configuration calls `path` can be read: this one, unless it may not be opened
/// and systemd has handed over a copy. A file that may be opened comes first, since what was handed over is as old as
/// the process. Blocks on the file system.
pub fn locate(path: &Path) -> PathBuf {
    let copied = || credentials().and_then(|credentials| copy(path, &credentials));
    let copy = if plain_file::is_refused(path) { copied() } else { None };
    copy.unwrap_or_else(|| path.to_owned())
}

/// Whether systemd would have to hand the file over anew, as it does when it starts the service: this is the service,
/// may not read the file itself, and has no copy of it. `error` is what came of reading it.
pub fn awaits_restart(path: &Path, error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied && is_handed_over(path) && is_service()
}

/// Whether systemd hands it over to the service, where it is there when that starts.
pub fn is_handed_over(path: &Path) -> bool {
    path.starts_with(FOLDER)
}

/// Whether systemd has handed something over to this process.
pub fn is_service() -> bool {
    credentials().is_some()
}

/// The folder of what systemd has handed over to this process; `None` where that is nothing.
pub fn credentials() -> Option<PathBuf> {
    env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// Where a credential of this name would be; `None` where systemd has handed over nothing.
pub fn credential(name: &str) -> Option<PathBuf> {
    Some(credentials()?.join(name))
}

/// The name of `path` among the credentials, where it is there.
fn copy(path: &Path, credentials: &Path) -> Option<PathBuf> {
    let name = path.strip_prefix(FOLDER).ok()?.to_str()?;
    // systemd names what it finds in a folder ID_NAME, and ID_FOLDER_NAME further below.
    let copy = credentials.join(format!("{ID}_{}", name.replace('/', "_")));
    copy.is_file().then_some(copy)
}

/// What `LoadCredential=` of systemd/uplinkd.service names.
pub const FOLDER: &str = "/etc/uplinkd/secrets";
pub const ID: &str = "secret";

/// What helps where a secret [`awaits_restart`].
pub const HAND_OVER: &str =
    "look whether it is there, and then `sudo systemctl restart uplinkd`, at which systemd hands it over";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_has_its_own_name_among_the_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let found = |path: &str| copy(Path::new(path), folder.path());
        fs::write(folder.path().join("secret_studio.pass"), "correct horse").unwrap();
        fs::write(folder.path().join("secret_north_b.pass"), "battery staple").unwrap();
        assert_eq!(found("/etc/uplinkd/secrets/studio.pass"), Some(folder.path().join("secret_studio.pass")));
        assert_eq!(
            found("/etc/uplinkd/secrets/north/b.pass"),
            Some(folder.path().join("secret_north_b.pass"))
        );
        assert_eq!(found("/etc/uplinkd/secrets/other.pass"), None);
        assert_eq!(found("/etc/uplinkd/studio.pass"), None, "it lies where systemd does not look");
    }

    #[test]
    fn a_file_that_is_readable_or_missing_is_looked_for_where_it_was_said_to_be() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(locate(file.path()), file.path());
        let missing = Path::new("/etc/uplinkd/secrets/nonexistent.pass");
        assert_eq!(locate(missing), missing);
    }

    #[test]
    fn a_pipe_without_a_writer_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let path = pipe.clone();
        std::thread::spawn(move || sender.send(locate(&path)));
        assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap(), pipe);
    }

    #[test]
    fn the_unit_hands_over_what_is_looked_for() {
        let unit = include_str!("../systemd/uplinkd.service");
        assert!(unit.contains(&format!("\nLoadCredential={ID}:{FOLDER}\n")), "{unit}");
    }
}
