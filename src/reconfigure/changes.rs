//! What a change is, what it is checked against, and why it is refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use toml::Table;

use super::Current;
use super::patience::{NoAnswer, PATIENCE, within};
use crate::config::json::{self, NotToml};
use crate::config::plan::Plan;
use crate::config::{Config, Document, Layers, Problem, Problems, Stream, StreamName};
use crate::media::{self, Finding, Severity};

/// What somebody wants to be otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// All overrides, as a TOML document; an empty one leaves what the file says.
    Overrides(String),
    /// A stream is to be like this, and what is not said has its default. It may be a new one.
    Replace { stream: StreamName, section: Json },
    /// A merge patch (RFC 7396) on what both documents say of a stream.
    Merge { stream: StreamName, patch: Json },
    /// There is to be no such stream.
    Remove { stream: StreamName },
}

/// How far a change is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What it would do, and nothing more.
    Plan,
    /// It is made; where somebody has to confirm it and does not, it is taken back.
    Apply { confirm_within: Option<Duration> },
}

/// What must be so for a change to be made: that nobody else was faster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The configuration that it was thought up for, by one of these tags, or by any where `*` is among them.
    pub is_one_of: Option<Vec<String>>,
    /// There must be nothing yet.
    pub is_new: bool,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub struct Done {
    pub plan: Plan,
    /// What the stream will wait for on this machine.
    pub warnings: Vec<Fault>,
    /// There was no such stream before.
    pub created: bool,
    pub current: Arc<Current>,
}

/// Something wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Dotted, from the document on; empty where no key is concerned.
    pub key: String,
    pub message: String,
    pub fix: String,
    /// Where it stands, if somebody wrote it down.
    pub place: Option<Place>,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A path, or `request` for the overrides that were sent.
    pub document: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no stream {0:?}")]
    NoStream(String),
    #[error("the configuration would be wrong: {}", summary(.0))]
    Wrong(Vec<Fault>),
    #[error("the configuration has changed meanwhile: read it again, and change what it is now")]
    Changed,
    #[error("a change waits to be confirmed: confirm it or roll it back first")]
    Unconfirmed,
    #[error("no change waits to be confirmed, or to prove itself")]
    NothingOnTrial,
    #[error("the change cannot be kept, and was not made: {reason}")]
    NotKept { is_full: bool, reason: String },
    #[error("nothing can be kept: {0}")]
    Blocked(String),
    #[error("earlier changes are still being made")]
    Busy,
    #[error("the daemon is shutting down")]
    Gone,
}

impl Change {
    /// The overrides as they are with it, and whether it makes a stream that was not there.
    pub(super) fn overrides(&self, layers: &Layers) -> Result<(String, bool), Refused> {
        let known = |name: &StreamName| match layers.config.streams.contains_key(name) {
            true => Ok(()),
            false => Err(Refused::NoStream(name.to_string())),
        };
        match self {
            Change::Overrides(text) if text.trim().is_empty() => Ok((String::new(), false)),
            Change::Overrides(text) => Ok((text.clone(), false)),
            Change::Replace { stream, section } => {
                let wanted = section_of(stream, section.clone())?;
                let created = !layers.config.streams.contains_key(stream);
                Ok((layers.overrides_for(stream, Some(layers.revealed(stream, wanted))), created))
            }
            Change::Merge { stream, patch } => {
                known(stream)?;
                let mut section = layers.stream(stream).map(json::to_json).unwrap_or_default();
                json::merge_patch(&mut section, patch.clone());
                let wanted = section_of(stream, section)?;
                Ok((layers.overrides_for(stream, Some(layers.revealed(stream, wanted))), false))
            }
            Change::Remove { stream } => {
                known(stream)?;
                Ok((layers.overrides_for(stream, None), false))
            }
        }
    }

    /// What it concerns; `None`: everything.
    fn stream(&self) -> Option<&StreamName> {
        match self {
            Change::Overrides(_) => None,
            Change::Replace { stream, .. } | Change::Merge { stream, .. } | Change::Remove { stream } => {
                Some(stream)
            }
        }
    }
}

fn section_of(stream: &StreamName, json: Json) -> Result<Table, Refused> {
    json::to_section(json).map_err(|NotToml { key, what }| {
        let key = match key.is_empty() {
            true => format!("streams.{stream}"),
            false => format!("streams.{stream}.{key}"),
        };
        let fix = "send the stream's settings as GET gives them under config".to_owned();
        Refused::Wrong(vec![Fault { key, message: what.to_owned(), fix, place: None }])
    })
}

impl Guard {
    pub(super) fn check(&self, change: &Change, config: &Config) -> Result<(), Refused> {
        let tag = match change.stream() {
            None => Some(tag(config.fingerprint())),
            Some(stream) => config.streams.get(stream).map(|stream| tag(stream.fingerprint())),
        };
        let is_met = match (&self.is_one_of, &tag) {
            (Some(tags), Some(tag)) => tags.iter().any(|wanted| wanted == tag || wanted == "*"),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if is_met && !(self.is_new && tag.is_some()) { Ok(()) } else { Err(Refused::Changed) }
    }
}

/// What a configuration's `ETag` has between its quotes.
pub fn tag(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Whether the overrides go with the file, and with this machine; what they would do, and what streams will wait
/// for.
pub(super) async fn check(
    file: &Path,
    file_text: &str,
    before: &Layers,
    change: &Change,
    overrides: &str,
) -> Result<(Layers, Plan, Vec<Fault>), Refused> {
    let layers = Layers::parse(file_text, overrides).map_err(|Problems(problems)| {
        let is_sent = matches!(change, Change::Overrides(_));
        Refused::Wrong(problems.into_iter().map(|problem| fault(file, is_sent, problem)).collect())
    })?;
    let plan = Plan::new(&before.config, &layers.config);
    let (errors, warnings) = findings(&before.config, &layers.config).await;
    if errors.is_empty() { Ok((layers, plan, warnings)) } else { Err(Refused::Wrong(errors)) }
}

/// Overrides that nobody has written as a document have no lines to speak of.
fn fault(file: &Path, is_sent: bool, problem: Problem) -> Fault {
    let Problem { document, line, column, key, message, fix } = problem;
    let document = match document {
        Document::File => Some(file.display().to_string()),
        Document::Overrides => is_sent.then(|| "request".to_owned()),
    };
    let place = document.map(|document| Place { document, line, column });
    Fault { key, message, fix, place }
}

/// What this machine cannot do of what is new, and what it would wait for. Devices are asked.
async fn findings(before: &Config, after: &Config) -> (Vec<Fault>, Vec<Fault>) {
    let is_new = |name: &StreamName, stream: &Stream| {
        let old = before.streams.get(name);
        old.is_none_or(|old| (&old.video, &old.audio) != (&stream.video, &stream.audio))
    };
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (name, stream) in after.streams.iter().filter(|(name, stream)| is_new(name, stream)) {
        let asked = stream.clone();
        let found = within(PATIENCE, move || media::check(&asked)).await;
        let is_unanswered = found.is_err();
        for Finding { key, message, fix, severity } in found.unwrap_or_else(unanswered) {
            let is_error = severity == Severity::Error && stream.enabled;
            let found = Fault { key: format!("streams.{name}.{key}"), message, fix, place: None };
            if is_error { errors.push(found) } else { warnings.push(found) }
        }
        if is_unanswered && stream.enabled {
            break; // it is refused anyway, and the others may hang for as long
        }
    }
    (errors, warnings)
}

/// What is said of a stream where a file or a device that it names hangs.
fn unanswered(late: NoAnswer) -> Vec<Finding> {
    vec![Finding {
        key: "video",
        message: format!("whether its files and devices can be used is not known: {late}"),
        fix: "see which of them hangs, such as a file on a server that is away".to_owned(),
        severity: Severity::Error,
    }]
}

fn summary(faults: &[Fault]) -> String {
    let first = faults.first().map(Fault::to_string).unwrap_or_default();
    match faults.len() {
        0 | 1 => first,
        number => format!("{first} (and {} more)", number - 1),
    }
}

impl std::fmt::Display for Fault {
    /// `document:line:column: key: what is wrong; what to write`, as far as these are known.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(Place { document, line, column }) = &self.place {
            write!(f, "{document}:{line}:{column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.message, self.fix)
    }
}
