//! What lies between two configurations, and what each change touches.
//!
//! The two are compared as data ([`Config::to_table`]), so that no key can be forgotten here; what
//! a change touches is a table of path prefixes ([`EFFECTS`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

use super::{Config, OutputName, StreamName};

/// All that differs, sorted by what has to act on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The API listens elsewhere, or with another token or certificate.
    pub api: bool,
    /// Live.
    pub log_level: bool,
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
    /// Live: the slate's picture.
    Slate,
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
        match difference.names().as_slice() {
            ["api", ..] => changes.api = true,
            ["log", ..] => changes.log_level = true,
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
            effects.insert(effect(within));
            changes.push(change);
        }
    }
}

/// What a change at this path below a stream touches.
fn effect(path: &[&str]) -> Effect {
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
        None => Effect::RestartStream,
    }
}

enum Touches {
    Enabled,
    RateBounds,
    Output,
    Lead,
    Slate,
}

/// The first path that fits counts; what none fits restarts the stream.
const EFFECTS: [(&[&str], Touches); 8] = [
    (&["enabled"], Touches::Enabled),
    (&["rate", "min_kbps"], Touches::RateBounds),
    (&["rate", "max_kbps"], Touches::RateBounds),
    (&["rate", "start_kbps"], Touches::RateBounds),
    (&["video", "slate"], Touches::Slate),
    (&["outputs", ANY, "lead"], Touches::Lead),
    (&["outputs", ANY], Touches::Output),
    (&["outputs"], Touches::Lead), // their order
];

/// Fits any step of a path.
const ANY: &str = "*";

/// A path, step by step, with what stands there on both sides.
struct Difference {
    steps: Vec<Step>,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Clone)]
enum Step {
    Key(String),
    /// An element of a list, by its name.
    Element(String),
}

impl Difference {
    fn names(&self) -> Vec<&str> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Key(name) | Step::Element(name) => name.as_str(),
            })
            .collect()
    }

    fn change(&self) -> Change {
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Element(name) => path.extend(["[", name, "]"]),
            }
        }
        Change { path, before: self.before.clone(), after: self.after.clone() }
    }
}

/// Every place at which two tables differ. A stream or output that only one of them has is one place.
fn differences(old: Table, new: Table) -> Vec<Difference> {
    let mut found = Vec::new();
    compare_tables(&mut Vec::new(), old, new, &mut found);
    found
}

fn compare_tables(path: &mut Vec<Step>, mut old: Table, mut new: Table, found: &mut Vec<Difference>) {
    let keys: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    for key in keys {
        let (before, after) = (old.remove(&key), new.remove(&key));
        path.push(Step::Key(key));
        compare(path, before, after, found);
        path.pop();
    }
}

fn compare(path: &mut Vec<Step>, before: Option<Value>, after: Option<Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Table(old)), Some(Value::Table(new))) => compare_tables(path, old, new, found),
        (Some(Value::Array(old)), Some(Value::Array(new))) => compare_lists(path, old, new, found),
        (before, after) if before == after => {}
        (before, after) => found.push(Difference { steps: path.clone(), before, after }),
    }
}

/// Elements belong together by their `name`; their order is a difference of its own.
fn compare_lists(path: &mut Vec<Step>, old: Vec<Value>, new: Vec<Value>, found: &mut Vec<Difference>) {
    let (mut old, mut new) = (named(old), named(new));
    let in_both = |one: &[(String, Value)], other: &[(String, Value)]| -> Vec<Value> {
        let stayed = one.iter().filter(|(name, _)| other.iter().any(|(other, _)| other == name));
        stayed.map(|(name, _)| Value::from(name.as_str())).collect()
    };
    let (order_before, order_after) = (in_both(&old, &new), in_both(&new, &old));
    if order_before != order_after {
        let (before, after) = (Some(order_before.into()), Some(order_after.into()));
        found.push(Difference { steps: path.clone(), before, after });
    }
    let mut names: Vec<String> = old.iter().chain(&new).map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let take = |list: &mut Vec<(String, Value)>| {
            list.iter().position(|(other, _)| *other == name).map(|at| list.remove(at).1)
        };
        let (before, after) = (take(&mut old), take(&mut new));
        path.push(Step::Element(name));
        compare(path, before, after, found);
        path.pop();
    }
}

fn named(list: Vec<Value>) -> Vec<(String, Value)> {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    list.into_iter()
        .map(|value| {
            (name(&value).expect("every list of the document is one of outputs, which have names"), value)
        })
        .collect()
}

impl fmt::Display for Change {
    /// `streams.main.rate.max_kbps: 6000 → 4000`. A value that receivers take as a credential is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let confidential = CONFIDENTIAL.iter().any(|key| self.path.ends_with(key));
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
        Some(value) => value.to_string(),
    }
}

/// Some receivers have user and password in the stream id.
const CONFIDENTIAL: [&str; 1] = ["stream_id"];
