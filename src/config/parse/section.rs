//! One table of the document, from which keys are read by name.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::Document;
use super::convert::{self, Value};
use super::report::{Complaint, Complaints, Report};
use super::suggest;

/// A table on its way into the tree. Every key that is read becomes known; [`Section::finish`]
/// complains about the rest.
pub(super) struct Section<'a> {
    report: &'a Report<'a>,
    /// Dotted; empty for the document itself.
    path: String,
    contents: Contents<'a>,
    /// Where the table begins: there, what is missing is missed.
    start: usize,
    known: Vec<&'static str>,
}

#[derive(Clone, Copy)]
enum Contents<'a> {
    Table(&'a DeTable<'a>),
    /// Nothing was written: every key has its default.
    Absent,
    /// Something was written that is no table, or that a syntax error destroyed.
    Unreadable,
}

/// What became of a key.
pub(super) enum Key<T> {
    Absent,
    Given(T),
    /// It was complained about, or a syntax error destroyed or swallowed it.
    Unreadable,
}

impl<T> Key<T> {
    /// The value, or the default where nothing was written; `None` where it could not be read.
    pub fn or(self, default: T) -> Option<T> {
        match self {
            Key::Absent => Some(default),
            Key::Given(value) => Some(value),
            Key::Unreadable => None,
        }
    }

    /// The value where one was written; `None` where it could not be read.
    pub fn optional(self) -> Option<Option<T>> {
        match self {
            Key::Absent => Some(None),
            Key::Given(value) => Some(Some(value)),
            Key::Unreadable => None,
        }
    }
}

impl<'a> Section<'a> {
    /// The document itself.
    pub fn root(report: &'a Report<'a>, table: &'a DeTable<'a>) -> Self {
        let contents = Contents::Table(table);
        Section { report, path: String::new(), contents, start: 0, known: Vec::new() }
    }

    /// Dotted path of the section itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Nothing was written: there is not even the section's name.
    pub fn is_absent(&self) -> bool {
        matches!(self.contents, Contents::Absent) && self.report.is_whole()
    }

    /// The line in which `name` stands, in words, for a message about another place.
    pub fn line_of(&self, name: &str) -> String {
        self.report.place(self.place_of(name))
    }

    /// Reads one key. The converter's complaints are noted at the value.
    pub fn read<T, E: Into<Complaints>>(
        &mut self,
        name: &'static str,
        convert: impl FnOnce(&Value<'a>) -> Result<T, E>,
    ) -> Key<T> {
        self.known.push(name);
        let value = match self.look_up(name) {
            Found::Value(value) if self.report.is_broken(&value.span()) => return Key::Unreadable,
            Found::Value(value) => value,
            Found::Nothing => return Key::Absent,
            Found::Unreadable => return Key::Unreadable,
        };
        match convert(&Value { key: name, contents: value.get_ref() }) {
            Ok(value) => Key::Given(value),
            Err(complaints) => {
                for complaint in complaints.into().0 {
                    self.report.push(value.span().start, self.key(name), complaint);
                }
                Key::Unreadable
            }
        }
    }

    /// Reads a key that has no default; `None` where it is missing or could not be read.
    pub fn required<T, E: Into<Complaints>>(
        &mut self,
        name: &'static str,
        convert: impl FnOnce(&Value<'a>) -> Result<T, E>,
        fix: &str,
    ) -> Option<T> {
        match self.read(name, convert) {
            Key::Given(value) => Some(value),
            Key::Unreadable => None,
            Key::Absent => {
                self.complain(name, Complaint::new("is missing", fix));
                None
            }
        }
    }

    /// Notes a problem at the value of `name`, or at the section's start where there is none.
    pub fn complain(&self, name: &str, complaint: Complaint) {
        self.report.push(self.place_of(name), self.key(name), complaint);
    }

    /// Notes a problem with the first of `names`, which does not go with the others: at its value where all of
    /// them stand in the file, else at the first that stands in the overrides, since the file was there before.
    pub fn complain_among(&self, names: &[&str], complaint: Complaint) {
        let in_overrides = |name: &&&str| match self.look_up(name) {
            Found::Value(value) => self.report.document(value.span().start) == Document::Overrides,
            Found::Nothing | Found::Unreadable => false,
        };
        let place = self.place_of(names.iter().find(in_overrides).unwrap_or(&names[0]));
        self.report.push(place, self.key(names[0]), complaint);
    }

    /// Notes a problem with the name `key` itself.
    pub fn complain_about_key(&self, key: &str, complaint: Complaint) {
        let written = match self.contents {
            Contents::Table(table) => table.get_key_value(key),
            Contents::Absent | Contents::Unreadable => None,
        };
        let place = written.map_or(self.start, |(key, _)| key.span().start);
        self.report.push(place, self.key(key), complaint);
    }

    /// The section below `name`; where there is none, one in which every key has its default.
    pub fn section(&mut self, name: &'static str) -> Section<'a> {
        self.known.push(name);
        self.child(name)
    }

    /// Every key of this section with the section below it; each key becomes known. `kind` is what
    /// such a section describes, in a complaint about anything else.
    pub fn named_sections(&mut self, kind: &str) -> Vec<(&'a str, Section<'a>)> {
        let Contents::Table(table) = self.contents else { return Vec::new() };
        let mut sections = Vec::new();
        for (name, value) in table {
            if value.get_ref().is_table() {
                sections.push((name.get_ref().as_ref(), self.child(name.get_ref())));
            } else if !self.report.is_broken(&value.span()) && !self.report.is_broken(&name.span()) {
                let fix = format!("write it below a [{}.NAME], such as [{0}.main]", self.path);
                let message = format!("is a setting, but only {kind} stand here, each with its name");
                self.report.push(name.span().start, self.key(name.get_ref()), Complaint::new(message, fix));
            }
        }
        sections
    }

    /// Every setting of a section whose names are not ours; `None` where one could not be read. Nothing else
    /// is to be read of it, and nothing complained about.
    pub fn settings<T>(
        self,
        convert: impl Fn(&str, &DeValue<'a>) -> Result<T, Complaint>,
    ) -> Option<BTreeMap<String, T>> {
        let table = match self.contents {
            Contents::Table(table) => table,
            Contents::Absent if self.report.is_whole() => return Some(BTreeMap::new()),
            Contents::Absent | Contents::Unreadable => return None,
        };
        let mut settings = BTreeMap::new();
        let mut complete = self.report.is_whole();
        for (name, value) in table {
            let key = name.get_ref().as_ref();
            if self.report.is_broken(&name.span()) || self.report.is_broken(&value.span()) {
                complete = false;
                continue;
            }
            match convert(key, value.get_ref()) {
                Ok(setting) => {
                    settings.insert(key.to_owned(), setting);
                }
                Err(complaint) => {
                    self.report.push(value.span().start, self.key(key), complaint);
                    complete = false;
                }
            }
        }
        complete.then_some(settings)
    }

    /// The sections `[[…name]]`, in their order; `None` where they could not be read.
    pub fn list(&mut self, name: &'static str) -> Option<Vec<Section<'a>>> {
        self.known.push(name);
        let value = match self.look_up(name) {
            Found::Value(value) => value,
            Found::Nothing => return Some(Vec::new()),
            Found::Unreadable => return None,
        };
        let path = self.key(name);
        let Some(array) = value.get_ref().as_array() else {
            if self.report.is_broken(&value.span()) {
                return None;
            }
            let fix = match value.get_ref() {
                DeValue::Table(_) => format!("write [[{path}]], with two brackets on each side"),
                _ => format!("write [[{path}]] above the settings of each"),
            };
            let message = format!("is {}, not a list of sections", convert::kind(value.get_ref()));
            self.report.push(value.span().start, path, Complaint::new(message, fix));
            return None;
        };
        let elements = array.iter().enumerate();
        Some(elements.map(|(i, e)| self.nested(format!("{path}[{i}]"), &format!("[[{path}]]"), e)).collect())
    }

    /// Complains about every key that was not read.
    pub fn finish(self) {
        let Contents::Table(table) = self.contents else { return };
        for (name, value) in table {
            let key = name.get_ref().as_ref();
            if self.known.contains(&key) || self.report.is_broken(&name.span()) {
                continue;
            }
            let fix = suggest::for_unknown_key(&self.path, key, value.get_ref(), &self.known);
            let message = match value.get_ref() {
                DeValue::Table(_) => "is not a section",
                _ => "is not a setting",
            };
            self.report.push(name.span().start, self.key(key), Complaint::new(message, fix));
        }
    }

    fn child(&self, name: &str) -> Section<'a> {
        match self.look_up(name) {
            Found::Value(value) => {
                let path = self.key(name);
                let header = format!("[{path}]");
                self.nested(path, &header, value)
            }
            Found::Nothing => self.with(self.key(name), Contents::Absent, self.start),
            Found::Unreadable => self.with(self.key(name), Contents::Unreadable, self.start),
        }
    }

    fn nested(&self, path: String, header: &str, value: &'a Spanned<DeValue<'a>>) -> Section<'a> {
        let start = value.span().start;
        let contents = match value.get_ref() {
            DeValue::Table(table) => Contents::Table(table),
            _ if self.report.is_broken(&value.span()) => Contents::Unreadable,
            other => {
                let message = format!("is {}, not a section", convert::kind(other));
                let fix = format!("write {header}, and its settings below");
                self.report.push(start, path.clone(), Complaint::new(message, fix));
                Contents::Unreadable
            }
        };
        self.with(path, contents, start)
    }

    fn with(&self, path: String, contents: Contents<'a>, start: usize) -> Section<'a> {
        Section { report: self.report, path, contents, start, known: Vec::new() }
    }

    fn look_up(&self, name: &str) -> Found<'a> {
        let table = match self.contents {
            Contents::Table(table) => table,
            Contents::Absent if self.report.is_whole() => return Found::Nothing,
            Contents::Absent | Contents::Unreadable => return Found::Unreadable,
        };
        match table.get(name) {
            Some(value) => Found::Value(value),
            None if self.report.is_whole() => Found::Nothing,
            None => Found::Unreadable,
        }
    }

    fn place_of(&self, name: &str) -> usize {
        match self.look_up(name) {
            Found::Value(value) => value.span().start,
            Found::Nothing | Found::Unreadable => self.start,
        }
    }

    fn key(&self, name: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = match !name.is_empty() && name.chars().all(bare) {
            true => name.to_owned(),
            false => format!("{name:?}"),
        };
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }
}

enum Found<'a> {
    Value(&'a Spanned<DeValue<'a>>),
    Nothing,
    /// A syntax error may have swallowed it.
    Unreadable,
}
