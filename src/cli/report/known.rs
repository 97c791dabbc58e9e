//! What is secret on this machine, as far as it can be read.
//!
//! Documents are searched by the names of their keys, so that one which is no good configuration hides nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use crate::config::HIDDEN;
use crate::{plain_file, secrets};

/// Texts that must not leave the machine, and what could not be looked up.
#[derive(Debug, Default)]
pub struct Known {
    /// Passphrases, tokens and passwords.
    pub secrets: BTreeSet<String>,
    /// Many receivers take them as a password, but they may be words like any other.
    pub stream_ids: BTreeSet<String>,
    /// What may therefore be in the archive in clear, in words.
    pub gaps: BTreeSet<String>,
}

impl Known {
    /// What lies beside the configuration at `config`, and where the service's secrets do. Blocks on files.
    pub fn learn_folders(&mut self, config: &Path) {
        let beside = config.parent().map(|folder| folder.join(SECRETS));
        let service = [Path::new(secrets::FOLDER), Path::new(SERVICE_CREDENTIALS)].map(Path::to_owned);
        let folders: BTreeSet<PathBuf> =
            beside.into_iter().chain(service).chain(secrets::credentials()).collect();
        for folder in folders {
            self.learn_folder(&folder, DEEPEST);
        }
    }

    /// Every document of overrides in the directory: those that count, wait to be confirmed, or were refused.
    /// Blocks on files.
    pub fn learn_overrides(&mut self, directory: &Path, name: &str) {
        for path in self.entries(directory) {
            if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)) {
                match plain_text(&path) {
                    Ok(text) => self.learn_document(&path, &text),
                    Err(error) => self.cannot_read(&path, &error),
                }
            }
        }
    }

    /// A document's secrets, and those of the files that it names; `path` is its own. Blocks on files.
    pub fn learn_document(&mut self, path: &Path, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        self.learn_table(table.get_ref());
        if !errors.is_empty() {
            // What an error hides of the rest stands on lines of its own, as a rule.
            for line in text.lines() {
                self.learn_table(DeTable::parse_recoverable(line).0.get_ref());
            }
            self.gaps.insert(format!("{} is no TOML, and some of it could not be read", path.display()));
        }
    }

    /// The files that the daemon itself names in its answer to `/v1/config`. Blocks on files.
    pub fn learn_answer(&mut self, config: &Json) {
        for setting in config["settings"].as_array().into_iter().flatten() {
            if let (Some(key), Some(value)) = (setting["key"].as_str(), setting["value"].as_str()) {
                self.learn_setting(key.rsplit('.').next().unwrap_or(key), value);
            }
        }
    }

    fn learn_table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.learn_value(key.get_ref(), value.get_ref());
        }
    }

    fn learn_value(&mut self, key: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.learn_table(table),
            DeValue::Array(list) => list.iter().for_each(|element| self.learn_value(key, element.get_ref())),
            DeValue::String(text) => self.learn_setting(key, text),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn learn_setting(&mut self, key: &str, value: &str) {
        match key {
            _ if value.is_empty() || value == HIDDEN => {}
            "stream_id" | "streamid" => {
                self.stream_ids.insert(value.to_owned());
            }
            "passphrase_file" | "password_file" | "token_file" => self.learn_file(value),
            // No such keys exist, but people write them.
            "passphrase" | "password" | "token" => self.learn_secret(value.to_owned(), &format!("a {key}")),
            _ => {}
        }
    }

    /// `named` as the configuration has it: a path, or `credential:` and a name.
    fn learn_file(&mut self, named: &str) {
        let places: Vec<PathBuf> = match named.strip_prefix(CREDENTIAL) {
            Some(name) => secrets::credential(name)
                .into_iter()
                .chain([Path::new(SERVICE_CREDENTIALS).join(name)])
                .collect(),
            None => vec![secrets::locate(Path::new(named))],
        };
        let read = places.iter().map(|path| (path, plain_text(path)));
        match read.reduce(|first, next| if first.1.is_ok() { first } else { next }) {
            Some((path, Ok(text))) => self.learn_secret(text, &path.display().to_string()),
            Some((path, Err(error))) => self.cannot_read(path, &error),
            None => {}
        }
    }

    fn learn_secret(&mut self, text: String, whence: &str) {
        if text.len() < SHORTEST_SECRET {
            self.gaps.insert(format!("{whence} has fewer than {SHORTEST_SECRET} characters, and stays"));
        } else {
            self.secrets.insert(text);
        }
    }

    fn learn_folder(&mut self, folder: &Path, depth: usize) {
        for path in self.entries(folder) {
            if path.is_dir() {
                if depth > 0 {
                    self.learn_folder(&path, depth - 1);
                }
                continue;
            }
            match plain_text(&path) {
                Ok(text) if text.len() < SHORTEST_SECRET => {} // the unit's own "-", where there is none
                Ok(text) => {
                    self.secrets.insert(text);
                }
                Err(error) => self.cannot_read(&path, &error),
            }
        }
    }

    /// None of a folder that is not there.
    fn entries(&mut self, folder: &Path) -> Vec<PathBuf> {
        let listed = fs::read_dir(folder)
            .and_then(|entries| entries.take(MOST_ENTRIES).map(|entry| Ok(entry?.path())).collect());
        listed.unwrap_or_else(|error: io::Error| {
            if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                self.cannot_read(folder, &error);
            }
            Vec::new()
        })
    }

    fn cannot_read(&mut self, path: &Path, error: &io::Error) {
        self.gaps.insert(format!("cannot read {}: {error}", path.display()));
    }
}

/// The text of a plain file without the line's end.
fn plain_text(path: &Path) -> io::Result<String> {
    let (bytes, _) = plain_file::read(path, LARGEST_FILE)?;
    let mut text =
        String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no text"))?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// The folder beside a configuration.
const SECRETS: &str = "secrets";

/// Where systemd puts what it hands over to the service.
const SERVICE_CREDENTIALS: &str = "/run/credentials/uplinkd.service";

/// What stands before the name of one in a configuration.
const CREDENTIAL: &str = "credential:";

/// In bytes: replacing a shorter one would eat half of the words.
const SHORTEST_SECRET: usize = 4;

/// In KiB: a configuration's limit, which no secret comes near.
const LARGEST_FILE: u64 = 1024;

/// Far more than anybody has, and few enough that a wrong folder does no harm.
const MOST_ENTRIES: usize = 1000;

/// Folders below a folder of secrets, whose files systemd hands over, too.
const DEEPEST: usize = 3;

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_document_that_is_no_toml_hides_no_secret_on_its_other_lines() {
        let mut known = Known::default();
        let text =
            "[streams.main\nname = \"studio\nstream_id = \"one-by-one\"\npassphrase = \"battery staple\"\n";
        known.learn_document(Path::new("/wrong.toml"), text);
        assert!(known.stream_ids.contains("one-by-one"), "{known:?}");
        assert!(known.secrets.contains("battery staple"), "{known:?}");
        assert!(known.gaps.iter().any(|gap| gap.starts_with("/wrong.toml is no TOML")), "{known:?}");
    }

    #[test]
    fn a_folder_of_secrets_is_read_with_those_below() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("secrets/north")).unwrap();
        fs::write(folder.path().join("secrets/north/b.pass"), "battery staple\r\n").unwrap();
        fs::write(folder.path().join("secrets/none"), "-").unwrap();
        let mut known = Known::default();
        known.learn_folder(&folder.path().join("secrets"), DEEPEST);
        assert_eq!(known.secrets, BTreeSet::from(["battery staple".to_owned()]));
        assert!(known.gaps.is_empty(), "{known:?}");
    }

    #[test]
    fn pipes_devices_and_missing_files_are_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut known = Known::default();
        for named in [pipe.to_str().unwrap(), "/dev/zero", "/nonexistent/a.pass"] {
            known.learn_setting("passphrase_file", named);
            assert!(known.gaps.iter().any(|gap| gap.contains(named)), "{known:?}");
        }
        assert!(known.secrets.is_empty());
    }

    #[test]
    fn the_files_that_a_daemon_names_are_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "battery staple\n").unwrap();
        let mut known = Known::default();
        known.learn_answer(&serde_json::json!({"settings": [
            {"key": "streams.main.outputs[a].passphrase_file", "value": file.path()},
            {"key": "streams.main.outputs[a].stream_id", "value": HIDDEN},
        ]}));
        assert!(known.secrets.contains("battery staple") && known.stream_ids.is_empty(), "{known:?}");
    }
}
