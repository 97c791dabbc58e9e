//! What lies between two configurations, and what each change touches.
//!
//! The two are compared as data ([`Config::to_table`]), so that no key can be forgotten here; what
//! a change touches is a table of path prefixes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

use super::layers::is_confidential;
use super::path::{KeyPath, are_named, name_of};
use super::{Config, OutputName, StreamName};

/// All that differs, sorted by what has to act on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The API listens elsewhere, or with another token or certificate.
    pub api: bool,
    /// Live.
    pub log_level: bool,
    /// Live: a broker is told, another one, or otherwise, or none any more.
    pub mqtt: bool,
    /// The streams that differ.
    pub streams: BTreeMap<StreamName, StreamChange>,
    /// Every single difference, in the order of the document's keys; a stream that came or went is one.
    pub list: Vec<Change>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamChange {
    Added,
    Removed,
    Modified { effects: BTreeSet<Effect>, changes: Vec<Change> },
}

/// What a change in a stream touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The stream starts or stops.
    Enabled,
    /// Live: the rate controller takes the new bounds over.
    RateBounds,
    /// This output was added, removed or altered: it alone connects anew.
    Output(OutputName),
    /// Live: which output the rate follows, or the order in which others take its place. Nothing connects anew.
    Lead,
    /// Live: what the camera's controls are set to.
    Controls,
    /// Live: the slate's picture.
    Slate,
    /// Live: gain, mute, channels, and how much later the sound is sent.
    Sound,
    /// Which sources take the first one's place: they are chosen among anew, and the encoder goes on.
    Fallback,
    /// Anything else: picture, sound and encoder start anew.
    RestartStream,
}

/// One key that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Dotted, with outputs by their names: `streams.main.outputs[studio].latency_ms`.
    pub path: String,
    /// `None` where the key had no value.
    pub before: Option<Value>,
    /// `None` where the key has no value any more.
    pub after: Option<Value>,
}

impl Changes {
    /// The two configurations are the same.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Compares two configurations.
pub fn changes(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    for difference in differences(old.to_table(), new.to_table()) {
        let change = difference.change();
        match difference.path.names().as_slice() {
            ["api", ..] => changes.api = true,
            ["log", ..] => changes.log_level = true,
            ["mqtt", ..] => changes.mqtt = true,
            ["streams", name, within @ ..] => {
                let name = StreamName::new(name).expect("a stream's key is its name");
                changes.touch(name, within, change.clone());
            }
            other => unreachable!("the document has no section {other:?}"),
        }
        changes.list.push(change);
    }
    changes
}

impl Changes {
    /// `within` is the path below the stream.
    fn touch(&mut self, stream: StreamName, within: &[&str], change: Change) {
        let whole = within.is_empty();
        let entry = self.streams.entry(stream);
        if whole {
            entry.or_insert(if change.after.is_some() { StreamChange::Added } else { StreamChange::Removed });
        } else if let StreamChange::Modified { effects, changes } =
            entry.or_insert_with(|| StreamChange::Modified { effects: BTreeSet::new(), changes: Vec::new() })
        {
            effects.insert(effect(within, &change));
            changes.push(change);
        }
    }
}

/// What a change at this path below a stream touches.
fn effect(path: &[&str], change: &Change) -> Effect {
    let matches = |pattern: &[&str]| {
        pattern.len() <= path.len() && pattern.iter().zip(path).all(|(p, step)| *p == ANY || p == step)
    };
    match EFFECTS.iter().find(|(pattern, _)| matches(pattern)).map(|(_, touches)| touches) {
        Some(Touches::Enabled) => Effect::Enabled,
        Some(Touches::RateBounds) => Effect::RateBounds,
        Some(Touches::Output) => {
            Effect::Output(OutputName::new(path[1]).expect("an output's key is its name"))
        }
        Some(Touches::Lead) => Effect::Lead,
        Some(Touches::Slate) => Effect::Slate,
        Some(Touches::Sound) => Effect::Sound,
        // Sound that is to be heard earlier than the picture has everything else wait for it: muxes and
        // the sound's own pipeline are made for so much of it.
        Some(Touches::SoundOffset) if [&change.before, &change.after].into_iter().all(is_delay) => {
            Effect::Sound
        }
        Some(Touches::SoundOffset) => Effect::RestartStream,
        Some(Touches::Controls) => Effect::Controls,
        Some(Touches::Fallback) => Effect::Fallback,
        None => Effect::RestartStream,
    }
}

/// An offset that has the sound come later, or with the picture.
fn is_delay(offset: &Option<Value>) -> bool {
    offset.as_ref().and_then(Value::as_integer).is_some_and(|ms| ms >= 0)
}

enum Touches {
    Enabled,
    RateBounds,
    Output,
    Lead,
    Slate,
    Sound,
    SoundOffset,
    Controls,
    Fallback,
}

/// The first path that fits counts; what none fits restarts the stream.
const EFFECTS: [(&[&str], Touches); 14] = [
    (&["enabled"], Touches::Enabled),
    (&["rate", "min_kbps"], Touches::RateBounds),
    (&["rate", "max_kbps"], Touches::RateBounds),
    (&["rate", "start_kbps"], Touches::RateBounds),
    (&["video", "slate"], Touches::Slate),
    (&["audio", "gain_db"], Touches::Sound),
    (&["audio", "mute"], Touches::Sound),
    (&["audio", "channels"], Touches::Sound),
    (&["audio", "offset_ms"], Touches::SoundOffset),
    (&["video", "controls"], Touches::Controls),
    (&["video", "fallback"], Touches::Fallback),
    (&["outputs", ANY, "lead"], Touches::Lead),
    (&["outputs", ANY], Touches::Output),
    (&["outputs"], Touches::Lead), // their order
];

/// Fits any step of a path.
const ANY: &str = "*";

/// A place, with what stands there on both sides.
struct Difference {
    path: KeyPath,
    before: Option<Value>,
    after: Option<Value>,
}

impl Difference {
    fn change(&self) -> Change {
        Change { path: self.path.to_string(), before: self.before.clone(), after: self.after.clone() }
    }
}

/// Every place at which two tables differ. A stream or output that only one of them has is one place.
fn differences(old: Table, new: Table) -> Vec<Difference> {
    let mut found = Vec::new();
    compare_tables(&KeyPath::default(), old, new, &mut found);
    found
}

fn compare_tables(path: &KeyPath, mut old: Table, mut new: Table, found: &mut Vec<Difference>) {
    let keys: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    for key in keys {
        compare(&path.key(&key), old.remove(&key), new.remove(&key), found);
    }
}

fn compare(path: &KeyPath, before: Option<Value>, after: Option<Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Table(old)), Some(Value::Table(new))) => compare_tables(path, old, new, found),
        (Some(Value::Array(old)), Some(Value::Array(new))) if are_named(&old) && are_named(&new) => {
            compare_lists(path, old, new, found);
        }
        (before, after) if before == after => {}
        (before, after) => found.push(Difference { path: path.clone(), before, after }),
    }
}

/// Elements belong together by their `name`; their order is a difference of its own.
fn compare_lists(path: &KeyPath, old: Vec<Value>, new: Vec<Value>, found: &mut Vec<Difference>) {
    let (mut old, mut new) = (named(old), named(new));
    let in_both = |one: &[(String, Value)], other: &[(String, Value)]| -> Vec<Value> {
        let stayed = one.iter().filter(|(name, _)| other.iter().any(|(other, _)| other == name));
        stayed.map(|(name, _)| Value::from(name.as_str())).collect()
    };
    let (order_before, order_after) = (in_both(&old, &new), in_both(&new, &old));
    if order_before != order_after {
        let (before, after) = (Some(order_before.into()), Some(order_after.into()));
        found.push(Difference { path: path.clone(), before, after });
    }
    let mut names: Vec<String> = old.iter().chain(&new).map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let take = |list: &mut Vec<(String, Value)>| {
            list.iter().position(|(other, _)| *other == name).map(|at| list.remove(at).1)
        };
        compare(&path.element(&name), take(&mut old), take(&mut new), found);
    }
}

fn named(list: Vec<Value>) -> Vec<(String, Value)> {
    let name = |value: &Value| name_of(value).map(str::to_owned);
    list.into_iter()
        .map(|value| (name(&value).expect("only elements with names are compared by them"), value))
        .collect()
}

impl fmt::Display for Change {
    /// `streams.main.rate.max_kbps: 6000 → 4000`. A value that receivers take as a credential is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let confidential = is_confidential(&self.path);
        match (&self.before, &self.after) {
            (Some(_), Some(_)) if confidential => write!(f, "{}: changed", self.path),
            (None, _) if confidential => write!(f, "{}: added", self.path),
            (_, None) if confidential => write!(f, "{}: removed", self.path),
            (before, after) => write!(f, "{}: {} → {}", self.path, shown(before), shown(after)),
        }
    }
}

fn shown(value: &Option<Value>) -> String {
    match value {
        None => "none".into(),
        // Its keys would fill a screen, and one of them may be confidential.
        Some(Value::Table(_)) => "present".into(),
        Some(Value::Array(list)) if list.iter().any(Value::is_table) => match list.len() {
            1 => "1 section".into(),
            sections => format!("{sections} sections"),
        },
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const OLD: &str = r#"
        [streams.main]
        enabled = true
        [[streams.main.outputs]]
        name = "studio"
        url = "srt://ingest.example.net:9000"
        [[streams.main.outputs]]
        name = "spare"
        url = "srt://ingest.example.net:9001"
    "#;

    fn compare(old: &str, new: &str) -> Changes {
        changes(&parse(old).unwrap(), &parse(new).unwrap())
    }

    /// The effects on the stream `main` of putting `to` in the place of `from`.
    fn effects(from: &str, to: &str) -> Vec<Effect> {
        assert!(OLD.contains(from));
        let changes = compare(OLD, &OLD.replacen(from, to, 1));
        assert!(!changes.api && !changes.log_level);
        match changes.streams.values().next() {
            Some(StreamChange::Modified { effects, .. }) => effects.iter().cloned().collect(),
            other => panic!("{other:?}"),
        }
    }

    fn output(name: &str) -> Effect {
        Effect::Output(OutputName::new(name).unwrap())
    }

    #[test]
    fn the_same_is_no_change() {
        let changes = compare(OLD, &OLD.replace("enabled = true", "video.width = 1280\nenabled = true"));
        assert!(changes.is_empty(), "a default that is written out changes nothing: {changes:?}");
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn each_change_touches_what_it_must_alone() {
        let within = |section: &str| effects("enabled = true", &format!("enabled = true\n{section}"));
        assert_eq!(effects("enabled = true", "enabled = false"), [Effect::Enabled]);
        assert_eq!(within("rate = { max_kbps = 4000 }"), [Effect::RateBounds]);
        assert_eq!(within("rate = { min_kbps = 400, start_kbps = 900 }"), [Effect::RateBounds]);
        assert_eq!(within("rate = { ladder = 'off' }"), [Effect::RestartStream]);
        assert_eq!(within("video = { slate = 'hold' }"), [Effect::Slate]);
        assert_eq!(within("video = { width = 640, slate = 'hold' }"), [Effect::Slate, Effect::RestartStream]);
        assert_eq!(within("video.controls = { brightness = 10 }"), [Effect::Controls]);
        assert_eq!(within("video.edid_file = '/etc/uplinkd/edid.bin'"), [Effect::RestartStream]);
        assert_eq!(within("video = { fallback = [{ source = 'test' }] }"), [Effect::Fallback]);
        assert_eq!(within("audio = { source = 'test' }"), [Effect::RestartStream]);
        assert_eq!(within("audio = { codec = 'opus' }"), [Effect::RestartStream]);
        assert_eq!(within("audio = { gain_db = -3.5, mute = true, channels = 'left' }"), [Effect::Sound]);
        assert_eq!(within("audio = { offset_ms = 80 }"), [Effect::Sound]);
        assert_eq!(within("audio = { offset_ms = -80 }"), [Effect::RestartStream]);
        assert_eq!(effects(":9001\"", ":9001\"\nlatency_ms = 500"), [output("spare")]);
        assert_eq!(effects("spare", "reserve"), [output("reserve"), output("spare")]);
        assert_eq!(effects(":9001\"", ":9001\"\nlead = true"), [Effect::Lead]);
    }

    #[test]
    fn another_order_of_outputs_connects_none_of_them_anew() {
        let (head, first) = OLD.split_at(OLD.find("[[").unwrap());
        let (first, second) = first.split_at(first.rfind("[[").unwrap());
        let changes = compare(OLD, &format!("{head}{second}{first}"));
        let said: Vec<String> = changes.list.iter().map(Change::to_string).collect();
        assert_eq!(
            said,
            [
                "streams.main.outputs: [\"studio\", \"spare\"] → [\"spare\", \"studio\"]",
                "streams.main.outputs[spare].lead: false → true",
                "streams.main.outputs[studio].lead: true → false",
            ]
        );
        let Some(StreamChange::Modified { effects, .. }) = changes.streams.values().next() else { panic!() };
        assert_eq!(effects.iter().collect::<Vec<_>>(), [&Effect::Lead]);
    }

    #[test]
    fn streams_come_and_go() {
        let both = format!("{OLD}\n[streams.second]");
        let second = StreamName::new("second").unwrap();
        let added = compare(OLD, &both);
        assert_eq!(added.streams, BTreeMap::from([(second.clone(), StreamChange::Added)]));
        assert_eq!(added.list[0].to_string(), "streams.second: none → present");
        let removed = compare(&both, OLD);
        assert_eq!(removed.streams, BTreeMap::from([(second, StreamChange::Removed)]));
    }

    #[test]
    fn the_daemon_s_own_sections_are_told_apart() {
        let changes = compare("", "[log]\nlevel = 'debug'");
        assert!(changes.log_level && !changes.api && changes.streams.is_empty());
        assert_eq!(changes.list[0].to_string(), "log.level: \"info\" → \"debug\"");
        let changes = compare("", "[api]\nlisten = 'unix:/run/uplinkd/api.sock'");
        assert!(changes.api && !changes.log_level);
        let changes = compare("", "[mqtt]\nurl = 'mqtt://localhost'");
        assert!(changes.mqtt && !changes.api);
        assert_eq!(changes.list[0].to_string(), "mqtt: none → present");
    }

    #[test]
    fn fallbacks_are_compared_as_a_whole() {
        let with = |sources: &str| format!("[streams.main.video]\nsource = 'test'\nfallback = [{sources}]");
        let (one, two) = ("{ device = '/dev/video0' }", "{ device = '/dev/video1' }");
        let changes = compare(&with(one), &with(&format!("{two}, {one}")));
        let said: Vec<String> = changes.list.iter().map(Change::to_string).collect();
        assert_eq!(said, ["streams.main.video.fallback: 1 section → 2 sections"]);
        assert!(compare(&with(one), &with(one)).is_empty());
        assert_eq!(compare(&with(one), &with(two)).list.len(), 1);
    }

    #[test]
    fn a_stream_id_is_not_shown() {
        let id = |id: &str| OLD.replacen(":9000\"", &format!(":9000\"\nstream_id = {id:?}"), 1);
        let said = |old: &str, new: &str| compare(old, new).list[0].to_string();
        assert_eq!(said(&id("user:one"), &id("user:two")), "streams.main.outputs[studio].stream_id: changed");
        assert_eq!(said(OLD, &id("user:two")), "streams.main.outputs[studio].stream_id: added");
        assert_eq!(said(&id("user:two"), OLD), "streams.main.outputs[studio].stream_id: removed");
    }
}
