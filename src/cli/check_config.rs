//! `uplinkd check-config`: everything that is wrong with a configuration, before it is on air.

use std::path::Path;

use super::Failure;
use crate::api::keys::Keys;
use crate::config::{Config, file};
use crate::media::{self, Finding, Severity};
use crate::mqtt::access::Access;

/// Parses, and then checks against this machine. What a stream would wait for (a camera) is told, and
/// is no mistake.
pub fn run(path: &Path) -> Result<(), Failure> {
    let config = file::load(path).map_err(Failure::configuration)?;
    media::init().map_err(Failure::gstreamer)?;
    let (errors, warnings) = findings(path, &config);
    if !errors.is_empty() {
        return Err(Failure::configuration([errors, warnings].concat().trim_end()));
    }
    super::say(&format!("{warnings}{}: good, for this machine too\n", path.display()))
}

/// What this machine cannot do of it, and what it will wait for (or would, were the stream enabled):
/// a line each, with the key and what to do.
fn findings(path: &Path, config: &Config) -> (String, String) {
    let (mut errors, mut warnings) = (String::new(), String::new());
    let of_api = Keys::load(&config.api).map(|keys| keys.warnings);
    let of_mqtt = config.mqtt.as_ref().map(|mqtt| Access::load(mqtt).map(|access| access.warnings));
    for read in [Some(of_api), of_mqtt].into_iter().flatten() {
        match read {
            Ok(all) => {
                for warning in all {
                    warnings.push_str(&format!("{}: warning: {warning}\n", path.display()));
                }
            }
            Err(error) => errors.push_str(&format!("{}: {error}\n", path.display())),
        }
    }
    for (name, stream) in &config.streams {
        for Finding { key, message, fix, severity } in media::check(stream) {
            let (lines, kind) = match severity {
                Severity::Error if stream.enabled => (&mut errors, ""),
                Severity::Error | Severity::Warning => (&mut warnings, "warning: "),
            };
            lines.push_str(&format!("{}: {kind}streams.{name}.{key}: {message}; {fix}\n", path.display()));
        }
    }
    (errors, warnings)
}
