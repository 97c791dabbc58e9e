//! Overrides that last: one file in the daemon's state directory, replaced as a whole.
//!
//! ```text
//! overrides.toml               what counts, beside the configuration file
//! overrides.toml.unconfirmed   a change that runs until somebody confirms it; a start takes it back
//! overrides.toml.new           being written
//! overrides.toml.refused       was no configuration at a start; kept for its owner, -2, -3, …
//! lock                         whose daemon runs, and keeps others away
//! ```
//!
//! A file is written beside the old one, made durable, and then takes its name, in one step that the file system
//! makes wholly or not at all; then the directory is made durable. Whenever the power goes or the process is killed,
//! the next start finds the old file or the new one.

mod hold;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use self::hold::{Held, Hold};
use super::{Document, Problems, file};

/// The overrides in their directory.
#[derive(Clone, Debug)]
pub struct Store<D = Directory> {
    disk: D,
}

/// What a file system does for us, step by step: what lies between two of them, a power cut can.
pub trait Disk {
    /// For messages.
    fn path(&self) -> &Path;
    /// Makes the directory, where there is none.
    fn make(&self) -> io::Result<()>;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A new file in the place of any old one; durable after [`Disk::sync`].
    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()>;
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Wholly or not at all; durable after [`Disk::sync_names`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// The same.
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_names(&self) -> io::Result<()>;
}

/// A directory of this machine.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

/// Why overrides could not be kept; those that were there before are there still.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}", path.display())]
pub struct Error {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Why there are none to be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}", problems.render(|_| path.display().to_string()).trim_end())]
    Invalid { path: PathBuf, problems: Problems },
}

impl Store {
    /// In systemd's directory for the daemon's state, else in `/var/lib/uplinkd`.
    pub fn of_this_machine() -> Store {
        let told = std::env::var("STATE_DIRECTORY").ok();
        // systemd lists several with colons
        let told = told.as_deref().and_then(|list| list.split(':').next()).map(PathBuf::from);
        Store::at(told.filter(|path| path.is_absolute()).unwrap_or_else(|| DIRECTORY.into()))
    }

    /// In this very directory, which is made when there is something to keep.
    pub fn at(directory: PathBuf) -> Store {
        Store { disk: Directory(directory) }
    }
}

impl<D: Disk> Store<D> {
    /// On another disk.
    pub fn on(disk: D) -> Store<D> {
        Store { disk }
    }

    /// The file that lasts.
    pub fn path(&self) -> PathBuf {
        self.disk.path().join(FILE)
    }

    /// What was kept; an empty text where nothing was.
    ///
    /// # Errors
    /// When there is a file that cannot be read as text.
    pub fn load(&self) -> Result<String, LoadError> {
        match self.disk.read(FILE) {
            Ok(bytes) => file::decoded(bytes, Document::Overrides)
                .map_err(|problems| LoadError::Invalid { path: self.path(), problems }),
            Err(error) if is_absence(&error) => Ok(String::new()),
            Err(source) => Err(LoadError::Read { path: self.path(), source }),
        }
    }

    /// Keeps these overrides, and none that wait to be confirmed; an empty text leaves none.
    ///
    /// # Errors
    /// When the disk is full, cannot be written to, or fails. The former ones are there still, but for an error of
    /// the last step: then it is not known which of the two a power cut would leave.
    pub fn keep(&self, overrides: &str) -> Result<(), Error> {
        if overrides.is_empty() {
            self.remove(FILE)?;
        } else {
            self.replace(FILE, overrides)?;
        }
        self.take_back().map(|_| ())
    }

    /// Keeps these overrides until the next start, which finds the former ones, unless they are confirmed.
    ///
    /// # Errors
    /// As [`Store::keep`].
    pub fn try_out(&self, overrides: &str) -> Result<(), Error> {
        self.replace(UNCONFIRMED, overrides)
    }

    /// Keeps what was tried out.
    ///
    /// # Errors
    /// As [`Store::keep`].
    pub fn confirm(&self) -> Result<(), Error> {
        self.disk.rename(UNCONFIRMED, FILE).map_err(|source| self.error("replace", FILE, source))?;
        self.sync_names()
    }

    /// Forgets what was tried out and not confirmed; tells whether there was something.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn take_back(&self) -> Result<bool, Error> {
        // A read-only disk refuses to remove even what is not there.
        match self.disk.read(UNCONFIRMED) {
            Err(error) if is_absence(&error) => Ok(false),
            Ok(_) | Err(_) => self.remove(UNCONFIRMED),
        }
    }

    /// Renames a file that is no use, so that it is not lost when the next one is kept; gives its new name.
    ///
    /// # Errors
    /// When it cannot be renamed, or so many were set aside already that nobody looks at them.
    pub fn set_aside(&self) -> Result<PathBuf, Error> {
        let names = (1..=MOST_SET_ASIDE).map(|number| match number {
            1 => format!("{FILE}.refused"),
            number => format!("{FILE}.refused-{number}"),
        });
        let is_free =
            |name: &String| self.disk.read(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let Some(name) = names.into_iter().find(is_free) else {
            let full = io::Error::other(format!("{MOST_SET_ASIDE} of them were set aside already"));
            return Err(self.error("set aside", FILE, full));
        };
        self.disk.rename(FILE, &name).map_err(|source| self.error("set aside", FILE, source))?;
        self.sync_names()?;
        Ok(self.disk.path().join(name))
    }

    fn replace(&self, name: &str, contents: &str) -> Result<(), Error> {
        let failed = |step, name| move |source| self.error(step, name, source);
        self.disk.make().map_err(failed("make the directory of", name))?;
        self.disk.write(NEW, contents.as_bytes()).map_err(failed("write", NEW))?;
        self.disk.sync(NEW).map_err(failed("write", NEW))?;
        self.disk.rename(NEW, name).map_err(failed("replace", name))?;
        self.sync_names()
    }

    fn remove(&self, name: &str) -> Result<bool, Error> {
        match self.disk.remove(name) {
            Ok(()) => self.sync_names().map(|()| true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(self.error("remove", name, error)),
        }
    }

    fn sync_names(&self) -> Result<(), Error> {
        self.disk.sync_names().map_err(|source| self.error("make durable", FILE, source))
    }

    fn error(&self, step: &'static str, name: &str, source: io::Error) -> Error {
        Error { step, path: self.disk.path().join(name), source }
    }
}

impl LoadError {
    /// Whether a later start may be able to read them, whole: not what is read, and no configuration.
    pub fn may_pass(&self) -> bool {
        match self {
            LoadError::Read { source, .. } => source.kind() != io::ErrorKind::FileTooLarge, // it stays so
            LoadError::Invalid { .. } => false,
        }
    }
}

impl Error {
    /// Whether there is no room left, which is somebody's to make.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }
}

impl Disk for Directory {
    fn path(&self) -> &Path {
        &self.0
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&self.0)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        file::read(&self.0.join(name))
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&path);
        let written = file.and_then(|mut file| file.write_all(contents));
        written.inspect_err(|_| {
            // What a full disk took of it is no use to anybody.
            if let Err(error) = fs::remove_file(&path) {
                log::debug!(path:% = path.display(), error:%; "cannot remove what could not be written");
            }
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.0.join(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// Of a file, or of its directory, or of what would hold that.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// As the unit file has it, by `StateDirectory=uplinkd`.
const DIRECTORY: &str = "/var/lib/uplinkd";

const FILE: &str = "overrides.toml";
const UNCONFIRMED: &str = "overrides.toml.unconfirmed";
const NEW: &str = "overrides.toml.new";

/// The daemon's alone: stream ids may hold credentials.
const FILE_MODE: u32 = 0o600;

/// What systemd gives a state directory.
const DIRECTORY_MODE: u32 = 0o755;

/// Each is one that somebody damaged by hand, or that an upgrade did.
const MOST_SET_ASIDE: u32 = 9;

#[cfg(test)]
mod tests;
