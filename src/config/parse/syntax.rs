//! The document as TOML: what could be read of it, and what is wrong with its syntax.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::convert;
use super::report::Complaint;

/// A text, of which each line that ends toml's recovery is blanked out.
pub(super) struct Document<'a> {
    original: &'a str,
    /// As long as the original, so that every place is the same in both.
    readable: String,
    errors: Vec<SyntaxError>,
}

struct SyntaxError {
    span: Range<usize>,
    message: String,
}

impl<'a> Document<'a> {
    /// Finds all syntax errors of `text`.
    pub fn new(text: &'a str) -> Self {
        let mut document = Document { original: text, readable: text.to_owned(), errors: Vec::new() };
        for _ in 0..ROUNDS {
            let found: Vec<SyntaxError> =
                DeTable::parse_recoverable(&document.readable).1.iter().map(SyntaxError::new).collect();
            let (ending, others): (Vec<_>, Vec<_>) = found.into_iter().partition(SyntaxError::ends_recovery);
            if ending.is_empty() {
                document.errors.extend(others);
                break;
            }
            for error in &ending {
                document.blank_out(line_around(text, error.span.start));
            }
            document.errors.extend(ending);
        }
        document.errors.sort_by_key(|error| error.span.start);
        // The first error of a line is the cause of the others.
        document.errors.dedup_by_key(|error| line_around(text, error.span.start));
        document
    }

    /// Where the errors are.
    pub fn errors(&self) -> Vec<Range<usize>> {
        self.errors.iter().map(|error| error.span.clone()).collect()
    }

    /// What could be read.
    pub fn table(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.readable).0.into_inner()
    }

    /// Each syntax error with its place and the dotted key that it most likely concerns.
    pub fn complaints<'d>(
        &'d self,
        table: &'d DeTable<'_>,
    ) -> impl Iterator<Item = (Range<usize>, String, Complaint)> + 'd {
        self.errors.iter().map(|error| {
            let key = self.key_at(table, error.span.start);
            (error.span.clone(), key, self.complaint(error))
        })
    }

    fn blank_out(&mut self, line: Range<usize>) {
        let blanks = " ".repeat(line.len());
        self.readable.replace_range(line, &blanks);
    }

    fn key_at(&self, table: &DeTable<'_>, offset: usize) -> String {
        let mut section = (0, String::new());
        nearest_header(self.original, table, "", offset, &mut section);
        let (_, section) = section;
        let line = &self.original[line_around(self.original, offset)];
        let Some((key, _)) = line.split_once('=') else { return section };
        let key = key.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return section;
        }
        if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
    }

    fn complaint(&self, error: &SyntaxError) -> Complaint {
        let written = self.original.get(error.span.clone()).unwrap_or_default();
        let line = &self.original[line_around(self.original, error.span.start)];
        let (what, expected) = match error.message.split_once(", expected ") {
            Some((what, expected)) => (what, Some(expected)),
            None => (error.message.as_str(), None),
        };
        match what {
            "duplicate key" if line.trim_start().starts_with('[') => {
                Complaint::new("this section is already there", "put the settings of both into one of them")
            }
            "duplicate key" => Complaint::new("is already set in this section", "remove one of the two"),
            "string values must be quoted" if written.is_empty() => {
                Complaint::new("has no value", "write one after the =")
            }
            "string values must be quoted" if SPOKEN_BOOLEANS.contains(&written) => {
                Complaint::new("this is not TOML", "write true or false, or put quotes around a text")
            }
            "string values must be quoted" | "invalid integer number" | "unexpected key or value" => {
                let (key, value) = line.split_once('=').unwrap_or_default();
                match convert::quantity_fix(key.trim(), value.trim()) {
                    Some(fix) => Complaint::new("a number has no unit behind it: the key has it", fix),
                    None if what == "unexpected key or value" => Complaint::new(
                        "the value ends before this",
                        "write one setting a line, and # before a comment",
                    ),
                    None => Complaint::new("a text stands in quotes", "put quotes around the value"),
                }
            }
            "invalid basic string" | "invalid literal string" => {
                Complaint::new("this text is not closed", "write the quote at its end, on the same line")
            }
            "missing escaped value" => Complaint::new(
                "a backslash in double quotes begins an escape",
                "write \\\\, or put the text in single quotes",
            ),
            "unclosed table" => Complaint::new("the section's name is not closed", "write ] behind it"),
            "unclosed array table" => {
                Complaint::new("the section's name is not closed", "write ]] behind it")
            }
            "key with no value" => {
                Complaint::new("this line sets nothing", "write KEY = VALUE, or # before a comment")
            }
            other => {
                let fix = match expected {
                    Some(expected) => format!("write {expected} here"),
                    None => "correct the TOML here".into(),
                };
                Complaint::new(other, fix)
            }
        }
    }
}

impl SyntaxError {
    fn new(error: &Error) -> Self {
        SyntaxError { span: error.span().unwrap_or_default(), message: error.message().to_owned() }
    }

    /// toml reads nothing behind a line without `=`.
    fn ends_recovery(&self) -> bool {
        self.message.starts_with("key with no value")
    }
}

/// Finds the last section header at or before `offset`: its start and path.
fn nearest_header(text: &str, table: &DeTable<'_>, path: &str, offset: usize, best: &mut (usize, String)) {
    for (name, value) in table {
        let path = match path {
            "" => name.get_ref().to_string(),
            parent => format!("{parent}.{}", name.get_ref()),
        };
        let mut visit = |span: Range<usize>, table: &DeTable<'_>, path: &str| {
            let header = text[span.start..].starts_with('[') && span.start <= offset;
            if header && (span.start >= best.0) {
                *best = (span.start, path.to_owned());
            }
            nearest_header(text, table, path, offset, best);
        };
        match value.get_ref() {
            DeValue::Table(table) => visit(value.span(), table, &path),
            DeValue::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    if let DeValue::Table(table) = element.get_ref() {
                        visit(element.span(), table, &format!("{path}[{index}]"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The line, without its break, in which a byte offset lies.
fn line_around(text: &str, offset: usize) -> Range<usize> {
    let offset = text.floor_char_boundary(offset);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    start..end
}

/// All lines that end the recovery are known after the first round; what a blanked line uncovers
/// takes few more. A bound, so that no text is read without end.
const ROUNDS: usize = 8;

/// What people write for a boolean that TOML does not know.
const SPOKEN_BOOLEANS: [&str; 12] =
    ["yes", "no", "on", "off", "True", "False", "TRUE", "FALSE", "Yes", "No", "On", "Off"];
