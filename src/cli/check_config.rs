//! `uplinkd check-config`: everything that is wrong with a configuration, before it is on air.

use std::fmt::Display;
use std::path::Path;

use super::withheld::Withheld;
use super::{DEFAULT_CONFIG, Failure};
use crate::api::keys::{self, KeyError, KeyWarning, Keys};
use crate::causes::with_causes;
use crate::config::file::{self, LoadError};
use crate::config::{Api, Config, Mqtt, SecretFile, Stream, StreamName, TlsFiles, parse};
use crate::media::{self, Finding, Severity};
use crate::mqtt::access::Access;
use crate::secrets;
use crate::supervisor::passphrase;

/// Parses, and then checks against this machine. What a stream would wait for (a camera) is told, and so is what only
/// the daemon may read; neither is a mistake.
pub fn run(path: &Path) -> Result<(), Failure> {
    let text = file::text(path).map_err(Failure::configuration)?;
    let invalid = |problems| Failure::configuration(LoadError::Invalid { path: path.to_owned(), problems });
    let config = parse(&text).map_err(invalid)?;
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
        findings.look_at_api(&config.api);
        if let Some(mqtt) = &config.mqtt {
            findings.look_at_mqtt(mqtt);
        }
        for (name, stream) in &config.streams {
            findings.look_at_stream(name, stream);
        }
        if path == Path::new(DEFAULT_CONFIG) {
            findings.warn_of_reach(config);
        }
        findings
    }

    fn look_at_api(&mut self, api: &Api) {
        let mut readable = api.clone();
        self.without_withheld("api.token_file", &mut readable.token_file);
        self.without_withheld_pair(["api.tls_certificate_file", "api.tls_key_file"], &mut readable.tls);
        self.take(Keys::load(&readable).map(|keys| keys.warnings));
    }

    fn look_at_mqtt(&mut self, mqtt: &Mqtt) {
        let mut readable = mqtt.clone();
        self.without_withheld("mqtt.password_file", &mut readable.password_file);
        self.without_withheld_pair(["mqtt.tls_certificate_file", "mqtt.tls_key_file"], &mut readable.tls);
        if let Some(withheld) = mqtt.tls_ca_file.as_deref().and_then(Withheld::file) {
            self.warning("mqtt.tls_ca_file", withheld.unchecked());
            readable.url.tls = false; // or the authorities of this machine would be looked for
        }
        self.take(Access::load(&readable).map(|access| access.warnings));
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

    /// Takes a secret that this process cannot read out of what is looked at, with a warning.
    fn without_withheld(&mut self, key: &str, secret: &mut Option<SecretFile>) {
        if let Some(withheld) = secret.as_ref().and_then(Withheld::secret) {
            self.warning(key, withheld.unchecked());
            *secret = None;
        }
    }

    /// The same of a certificate and its key: where one of them is withheld, the other is of no use.
    fn without_withheld_pair(&mut self, keys: [&'static str; 2], files: &mut Option<TlsFiles>) {
        let Some(TlsFiles { certificate, key }) = files else { return };
        let withheld = [&*certificate, &*key].map(|path| Withheld::file(path));
        for (key, withheld) in keys.iter().zip(&withheld) {
            if let Some(withheld) = withheld {
                self.warning(key, withheld.unchecked());
            }
        }
        match withheld {
            [None, None] => return,
            [None, Some(_)] => self.take(keys::certificates(keys[0], certificate).map(|_| Vec::new())),
            [Some(_), None | Some(_)] => {}
        }
        *files = None;
    }

    /// What became of a section's files.
    fn take(&mut self, read: Result<Vec<KeyWarning>, KeyError>) {
        match read {
            Ok(warnings) => {
                warnings.iter().for_each(|KeyWarning { key, message }| self.warning(key, message))
            }
            Err(KeyError { key, message, fix }) => {
                self.add(Severity::Error, key, format_args!("{message}; {fix}"));
            }
        }
    }

    /// What root can read when this is typed, and the service cannot when it starts.
    fn warn_of_reach(&mut self, config: &Config) {
        let (api, mqtt) = (&config.api, config.mqtt.as_ref());
        let tls = |files: &Option<TlsFiles>| files.as_ref().map(|files| files.key.clone());
        let secret = |file: Option<&SecretFile>| match file {
            Some(SecretFile::Path(path)) => Some(path.clone()),
            Some(SecretFile::Credential(_)) | None => None,
        };
        let mut files = vec![
            ("api.token_file".to_owned(), secret(api.token_file.as_ref())),
            ("api.tls_key_file".to_owned(), tls(&api.tls)),
            ("mqtt.password_file".to_owned(), mqtt.and_then(|mqtt| secret(mqtt.password_file.as_ref()))),
            ("mqtt.tls_key_file".to_owned(), mqtt.and_then(|mqtt| tls(&mqtt.tls))),
        ];
        for (name, stream) in &config.streams {
            files.extend(stream.outputs.iter().map(|output| {
                (
                    format!("streams.{name}.outputs[{}].passphrase_file", output.name),
                    output.passphrase_file.clone(),
                )
            }));
        }
        for (key, path) in files {
            if let Some(path) = path.filter(|path| secrets::is_out_of_reach(path)) {
                let path = path.display();
                let advice = "move it to /etc/uplinkd/secrets, whose files systemd hands over";
                let trouble =
                    format_args!("only root may read {path}, and the service is not root; {advice}");
                self.warning(&key, trouble);
            }
        }
    }

    fn warning(&mut self, key: &str, text: impl Display) {
        self.add(Severity::Warning, key, text);
    }

    fn add(&mut self, severity: Severity, key: &str, text: impl Display) {
        let place = file::located(self.path, self.text, key);
        match severity {
            Severity::Error => self.errors.push_str(&format!("{place}: {key}: {text}\n")),
            Severity::Warning => self.warnings.push_str(&format!("{place}: warning: {key}: {text}\n")),
        }
    }
}
