//! Reading a configuration from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::parse::place_of;
use super::{Config, Document, Problem, Problems, parse};

/// Why a file gave no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("there is no configuration {}; copy {COMMENTED} or one of {EXAMPLES} there, or name another with --config", path.display())]
    Missing { path: PathBuf },
    /// It could not be read, or is no ordinary text of a sensible size.
    #[error("cannot read configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It was read, and its contents are wrong; the message is one line for each problem.
    #[error("{}", problems.render(|_| path.display().to_string()).trim_end())]
    Invalid { path: PathBuf, problems: Problems },
}

/// Reads and parses the file at `path`. Blocks on the file system.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    parsed(path, &text(path)?)
}

/// Parses the text of the file at `path`.
pub fn parsed(path: &Path, text: &str) -> Result<Config, LoadError> {
    parse(text).map_err(|problems| LoadError::Invalid { path: path.to_owned(), problems })
}

/// Reads the file at `path`, whatever it says. Blocks on the file system.
pub fn text(path: &Path) -> Result<String, LoadError> {
    let bytes = read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LoadError::Missing { path: path.to_owned() },
        _ => LoadError::Read { path: path.to_owned(), source },
    })?;
    decoded(bytes, Document::File).map_err(|problems| LoadError::Invalid { path: path.to_owned(), problems })
}

/// `path:line:column` of what `key` leads to in the text of that file, or of where it belongs; the file alone where it
/// has neither.
pub fn located(path: &Path, text: &str, key: &str) -> String {
    let place = key.parse().ok().and_then(|key| place_of(text, &key));
    let path = path.display();
    place.map_or_else(|| path.to_string(), |(line, column)| format!("{path}:{line}:{column}"))
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let message = format!("it is larger than {} KiB, which no configuration is", LARGEST_FILE / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

pub(super) fn decoded(bytes: Vec<u8>, document: Document) -> Result<String, Problems> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        Problems(vec![Problem {
            document,
            line: before.matches('\n').count() + 1,
            column: last_line.chars().count() + 1,
            key: String::new(),
            message: "this byte is not UTF-8 text".into(),
            fix: "save the file as UTF-8".into(),
        }])
    })
}

/// What the package makes the first configuration of: all that this version knows is explained in it.
const COMMENTED: &str = "/usr/share/uplinkd/uplinkd.toml";

/// Where the package has some for usual machines.
const EXAMPLES: &str = "/usr/share/doc/uplinkd/examples";

/// Bytes. A hundred times what the shipped file has, and small enough that a wrong path
/// (`/dev/zero`, a video) does no harm.
const LARGEST_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Path::new("/nonexistent/uplinkd.toml")).unwrap_err();
        assert!(matches!(error, LoadError::Missing { .. }));
        let said = error.to_string();
        assert!(
            said.starts_with("there is no configuration /nonexistent/uplinkd.toml; copy /usr/share/uplinkd/"),
            "{said}"
        );
    }

    #[test]
    fn a_directory_is_no_configuration() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path()), Err(LoadError::Read { .. })));
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = load(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("larger than 1024 KiB"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin1.toml");
        std::fs::write(&path, b"# ok\n# \xc3\xa9t\xe9\n").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("latin1.toml:2:5: this byte is not UTF-8 text; save the file as UTF-8"),
            "{error}"
        );
    }
}
