//! `uplinkd check-config`: everything that is wrong with a configuration, before it is on air.

use std::path::Path;

use super::Failure;
use crate::config::{Config, file};
use crate::media;

/// Parses, and then checks against this machine.
pub fn run(path: &Path) -> Result<(), Failure> {
    let config = file::load(path).map_err(Failure::configuration)?;
    media::init().map_err(Failure::gstreamer)?;
    let findings = findings(path, &config);
    if findings.is_empty() {
        println!("{}: good, for this machine too", path.display());
        return Ok(());
    }
    Err(Failure::configuration(findings.join("\n")))
}

/// What this machine cannot do of it, in the same form as the parser's errors.
fn findings(path: &Path, config: &Config) -> Vec<String> {
    let streams = config.streams.iter();
    streams
        .flat_map(|(name, stream)| {
            media::check(stream).into_iter().map(move |finding| {
                let (key, message, fix) = (finding.key, finding.message, finding.fix);
                format!("{}: streams.{name}.{key}: {message}; {fix}", path.display())
            })
        })
        .collect()
}
