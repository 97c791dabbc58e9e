//! `uplinkd check-config`: everything that is wrong with a configuration, before it is on air.

use std::fmt::Display;
use std::path::Path;

use super::key_files::KeyFiles;
use super::withheld::Withheld;
use super::{Failure, reach};
use crate::api::keys::{KeyError, KeyWarning};
use crate::causes::with_causes;
use crate::config::{Config, Stream, StreamName, file};
use crate::media::{self, Finding, Severity};
use crate::supervisor::passphrase;

/// Parses, and then checks against this machine. What a stream would wait for (a camera) is told, and so is what only
/// the daemon may read; neither is a mistake.
pub fn run(path: &Path) -> Result<(), Failure> {
    let text = file::text(path).map_err(Failure::configuration)?;
    let config = file::parsed(path, &text).map_err(Failure::configuration)?;
    media::init().map_err(Failure::gstreamer)?;
    let Findings { errors, warnings, .. } = Findings::of(path, &text, &config);
    if !errors.is_empty() {
        return Err(Failure::configuration([errors, warnings].concat().trim_end()));
    }
    super::say(&format!("{warnings}{}: good, for this machine too\n", path.display()))
}

/// What this machine cannot do of it, and what it will wait for (or would, were the stream enabled):
/// a line each, with its place, the key and what to do.
struct Findings<'a> {
    path: &'a Path,
    text: &'a str,
    errors: String,
    warnings: String,
}

impl Findings<'_> {
    fn of<'a>(path: &'a Path, text: &'a str, config: &Config) -> Findings<'a> {
        let mut findings = Findings { path, text, errors: String::new(), warnings: String::new() };
        findings.look_at(KeyFiles::of_api(&config.api));
        if let Some(mqtt) = &config.mqtt {
            findings.look_at(KeyFiles::of_mqtt(mqtt));
        }
        for (name, stream) in &config.streams {
            findings.look_at_stream(name, stream);
        }
        if reach::is_of_the_service(path) {
            findings.warn_of_reach(config);
        }
        findings
    }

    fn look_at(&mut self, files: KeyFiles) {
        let KeyFiles { errors, warnings, withheld } = files;
        for KeyError { key, message, fix } in errors {
            self.add(Severity::Error, key, format_args!("{message}; {fix}"));
        }
        for KeyWarning { key, message } in warnings {
            self.warning(key, message);
        }
        for (key, withheld) in withheld {
            self.warning(key, withheld.unchecked());
        }
    }

    fn look_at_stream(&mut self, name: &StreamName, stream: &Stream) {
        for Finding { key, message, fix, severity } in media::check(stream) {
            let severity = if stream.enabled { severity } else { Severity::Warning };
            self.add(severity, &format!("streams.{name}.{key}"), format_args!("{message}; {fix}"));
        }
        let severity = if stream.enabled { Severity::Error } else { Severity::Warning };
        for output in &stream.outputs {
            let Some(path) = &output.passphrase_file else { continue };
            let key = format!("streams.{name}.outputs[{}].passphrase_file", output.name);
            if let Some(withheld) = Withheld::file(path) {
                self.warning(&key, withheld.unchecked());
            } else if let Err(error) = passphrase::load(path) {
                let fix = "write the passphrase alone into it";
                self.add(severity, &key, format_args!("{}; {fix}", with_causes(&error)));
            }
        }
    }

    /// What can be read when this is typed, and not by the service when it starts.
    fn warn_of_reach(&mut self, config: &Config) {
        if let Some(trouble) = reach::of_folder() {
            self.add(Severity::Error, "", trouble);
        }
        for (key, trouble) in reach::of_configuration(self.path, config) {
            self.warning(&key, trouble);
        }
    }

    fn warning(&mut self, key: &str, text: impl Display) {
        self.add(Severity::Warning, key, text);
    }

    /// An empty key, where none is concerned.
    fn add(&mut self, severity: Severity, key: &str, text: impl Display) {
        let place = file::located(self.path, self.text, key);
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        match severity {
            Severity::Error => self.errors.push_str(&format!("{place}: {key}{text}\n")),
            Severity::Warning => self.warnings.push_str(&format!("{place}: warning: {key}{text}\n")),
        }
    }
}
