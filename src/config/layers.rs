//! The file and the overrides: what both together say, which of them says it, and how the overrides must be for a
//! stream to be as it is wanted.
//!
//! Overrides are a document like the file's own, laid over it: sections key by key, outputs by their `name`, all
//! else as a whole. TOML has no null, so what the file has and the configuration shall not have stands in a list,
//! and is taken out first:
//!
//! ```toml
//! remove = ["streams.main.outputs[studio].stream_id", "streams.second"]
//!
//! [streams.main.rate]
//! max_kbps = 4000
//! ```

use toml::{Table, Value};

use super::parse::{REMOVE, parse_layers};
use super::path::{KeyPath, are_named, name_of};
use super::{Config, Problems, StreamName};

/// A configuration, and the two documents that it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    /// What counts.
    pub config: Config,
    file: Table,
    /// Without [`REMOVE`].
    overrides: Table,
    removed: Vec<KeyPath>,
    /// Both, without defaults.
    written: Table,
}

/// Who says what a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file, `/etc/uplinkd/uplinkd.toml` as a rule.
    Etc,
    /// A change through the API.
    Override,
    /// Nobody.
    Default,
}

/// One setting as it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub key: KeyPath,
    /// [`HIDDEN`] where others take it as a credential.
    pub value: Value,
    pub origin: Origin,
}

impl Origin {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Etc => "etc",
            Origin::Override => "override",
            Origin::Default => "default",
        }
    }
}

impl Layers {
    /// Reads both documents; either may be empty.
    ///
    /// # Errors
    /// All problems of both, each with its document, line and column.
    pub fn parse(file: &str, overrides: &str) -> Result<Layers, Problems> {
        parse_layers(file, overrides)
    }

    pub(super) fn new(config: Config, tables: [Table; 3], removed: Vec<KeyPath>) -> Layers {
        let [file, overrides, written] = tables;
        Layers { config, file, overrides, removed, written }
    }

    /// What the overrides take out of the file.
    pub fn removed(&self) -> &[KeyPath] {
        &self.removed
    }

    /// Nothing was changed through the API.
    pub fn is_file_alone(&self) -> bool {
        self.overrides.is_empty() && self.removed.is_empty()
    }

    /// Every setting that counts, in the order of its key, with who says so.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        flatten(&KeyPath::default(), Value::Table(self.config.to_table()), &mut settings);
        settings
            .into_iter()
            .map(|(key, value)| Setting { origin: self.origin(&key), value: shown(&key, value), key })
            .collect()
    }

    fn origin(&self, key: &KeyPath) -> Origin {
        let is_written = key.find(&self.written).is_some();
        // The name of an output is in both, for the one to know which of the other's is meant.
        let in_file = key.find(&self.file).is_some() && !self.removed.iter().any(|path| key.is_within(path));
        let is_name = key.names().last() == Some(&"name");
        match key.find(&self.overrides) {
            Some(_) if !(is_name && in_file) => Origin::Override,
            _ if is_written => Origin::Etc,
            _ => Origin::Default,
        }
    }

    /// A stream's own section as both documents together have it, without defaults.
    pub fn stream(&self, name: &StreamName) -> Option<&Table> {
        stream_path(name).find(&self.written)?.as_table()
    }

    /// The overrides with which this stream is as wanted, and everything else as it is; `None`: there is no such
    /// stream. What the file says already is not repeated, so that a later change of the file is not hidden.
    pub fn overrides_for(&self, name: &StreamName, wanted: Option<Table>) -> String {
        let path = stream_path(name);
        let mut removed: Vec<KeyPath> =
            self.removed.iter().filter(|removed| !removed.is_within(&path)).cloned().collect();
        let mut below = self.file.clone();
        removed.iter().for_each(|path| path.remove_from(&mut below));
        let below = path.find(&below).and_then(Value::as_table);
        let mut overrides = self.overrides.clone();
        path.remove_from(&mut overrides);
        let patch = match (below, wanted) {
            (Some(_), None) => {
                removed.push(path);
                None
            }
            (Some(below), Some(wanted)) => {
                let patch = difference(below, wanted, &path, &mut removed);
                (!patch.is_empty()).then_some(patch)
            }
            (None, wanted) => wanted,
        };
        put_stream(&mut overrides, name, patch);
        document(overrides, &removed)
    }

    /// The wanted section with what [`HIDDEN`] stands for, where an output of that name has it already.
    pub fn revealed(&self, name: &StreamName, mut wanted: Table) -> Table {
        let known = self.stream(name).and_then(|stream| stream.get(OUTPUTS)).and_then(Value::as_array);
        for output in wanted.get_mut(OUTPUTS).and_then(Value::as_array_mut).into_iter().flatten() {
            let twin = known.into_iter().flatten().find(|it| name_of(it) == name_of(output));
            let Value::Table(output) = output else { continue };
            for key in CONFIDENTIAL {
                if output.get(key).and_then(Value::as_str) == Some(HIDDEN)
                    && let Some(value) = twin.and_then(|twin| twin.get(key))
                {
                    output.insert(key.to_owned(), value.clone());
                }
            }
        }
        wanted
    }
}

/// A value as others may see it: what they take as a credential is hidden.
pub fn without_secrets(value: Value) -> Value {
    match value {
        Value::Table(table) => {
            let hidden = |(key, value): (String, Value)| match CONFIDENTIAL.contains(&key.as_str()) {
                true => (key, HIDDEN.into()),
                false => (key, without_secrets(value)),
            };
            Value::Table(table.into_iter().map(hidden).collect())
        }
        Value::Array(list) => list.into_iter().map(without_secrets).collect::<Vec<_>>().into(),
        value => value,
    }
}

/// Whether the value of a key is not for showing.
pub fn is_confidential(key: &str) -> bool {
    CONFIDENTIAL.iter().any(|confidential| key.ends_with(confidential))
}

fn shown(key: &KeyPath, value: Value) -> Value {
    if is_confidential(&key.to_string()) { HIDDEN.into() } else { value }
}

fn stream_path(name: &StreamName) -> KeyPath {
    KeyPath::default().key(STREAMS).key(name.as_str())
}

/// Every value that is no section and no list of named ones.
fn flatten(at: &KeyPath, value: Value, found: &mut Vec<(KeyPath, Value)>) {
    match value {
        Value::Table(table) => {
            table.into_iter().for_each(|(key, value)| flatten(&at.key(&key), value, found))
        }
        Value::Array(list) if !list.is_empty() && are_named(&list) => {
            for element in list {
                let at = at.element(name_of(&element).expect("all of them have names"));
                flatten(&at, element, found);
            }
        }
        value => found.push((at.clone(), value)),
    }
}

/// What to lay over `below` for it to become `wanted`; what is to be taken out of it first goes to `removed`.
fn difference(below: &Table, wanted: Table, at: &KeyPath, removed: &mut Vec<KeyPath>) -> Table {
    removed.extend(below.keys().filter(|key| !wanted.contains_key(*key)).map(|key| at.key(key)));
    let mut patch = Table::new();
    for (key, wanted) in wanted {
        let value = match (below.get(&key), wanted) {
            (Some(below), wanted) if *below == wanted => None,
            (Some(Value::Table(below)), Value::Table(wanted)) => {
                let patch = difference(below, wanted, &at.key(&key), removed);
                (!patch.is_empty()).then_some(Value::Table(patch))
            }
            (Some(Value::Array(below)), Value::Array(wanted)) if are_named(below) && are_named(&wanted) => {
                let patch = list_difference(below, wanted, &at.key(&key), removed);
                (!patch.is_empty()).then_some(Value::Array(patch))
            }
            (_, wanted) => Some(wanted),
        };
        if let Some(value) = value {
            patch.insert(key, value);
        }
    }
    patch
}

/// The same of lists, by the names of their elements. Another order is another list: the file's goes first then.
fn list_difference(
    below: &[Value],
    wanted: Vec<Value>,
    at: &KeyPath,
    removed: &mut Vec<KeyPath>,
) -> Vec<Value> {
    let is_in = |list: &[Value], element: &Value| list.iter().any(|it| name_of(it) == name_of(element));
    let stay: Vec<&Value> = below.iter().filter(|element| is_in(&wanted, element)).collect();
    let keeps_order = wanted.iter().zip(&stay).all(|(wanted, stay)| name_of(wanted) == name_of(stay));
    if !keeps_order {
        removed.push(at.clone());
        return wanted;
    }
    let names = |list: &[Value]| list.iter().filter_map(name_of).map(str::to_owned).collect::<Vec<_>>();
    let stay = stay.len();
    removed.extend(
        names(below).iter().filter(|name| !names(&wanted).contains(name)).map(|name| at.element(name)),
    );
    let mut patch = Vec::new();
    for (number, wanted) in wanted.into_iter().enumerate() {
        let below = below.iter().find(|it| name_of(it) == name_of(&wanted)).filter(|_| number < stay);
        match (below, wanted) {
            (Some(Value::Table(below)), Value::Table(wanted)) => {
                let name = wanted.get("name").cloned().expect("all of them have names");
                let at = at.element(name.as_str().expect("which are texts"));
                let mut difference = difference(below, wanted, &at, removed);
                if !difference.is_empty() {
                    difference.insert("name".to_owned(), name);
                    patch.push(Value::Table(difference));
                }
            }
            (_, wanted) => patch.push(wanted),
        }
    }
    patch
}

fn put_stream(overrides: &mut Table, name: &StreamName, patch: Option<Table>) {
    let mut streams = match overrides.remove(STREAMS) {
        Some(Value::Table(streams)) => streams,
        _ => Table::new(),
    };
    if let Some(patch) = patch {
        streams.insert(name.to_string(), Value::Table(patch));
    }
    if !streams.is_empty() {
        overrides.insert(STREAMS.to_owned(), Value::Table(streams));
    }
}

/// The document; empty where there is nothing to say.
fn document(mut overrides: Table, removed: &[KeyPath]) -> String {
    if !removed.is_empty() {
        let removed: Vec<Value> = removed.iter().map(|path| path.to_string().into()).collect();
        overrides.insert(REMOVE.to_owned(), removed.into());
    }
    if overrides.is_empty() {
        return String::new();
    }
    let text =
        toml::to_string(&overrides).expect("what was read from TOML, or checked to be, can be written");
    format!("{HEAD}{text}")
}

/// Says of a generated document what it is.
const HEAD: &str = "# Changes made through uplinkd's API; they are laid over the configuration file.\n\n";

const STREAMS: &str = "streams";
const OUTPUTS: &str = "outputs";

/// What stands in the place of a value that is not for showing. Sent back, it means the value that is there.
pub const HIDDEN: &str = "***";

/// Some receivers have user and password in the stream id.
const CONFIDENTIAL: [&str; 1] = ["stream_id"];

#[cfg(test)]
mod tests;
