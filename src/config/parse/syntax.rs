//! The document as TOML: what could be read of it, and what is wrong with its syntax.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::convert;
use super::report::Complaint;

/// A text, mended so far that toml reads all of it.
pub(super) struct Document<'a> {
    original: &'a str,
    /// The same lines. What stands on them keeps its column, but for the rest of a mended line.
    mended: String,
    errors: Vec<SyntaxError>,
}

struct SyntaxError {
    start: Place,
    end: Place,
    message: String,
}

/// A line, counted from 0, and a byte in it: the same in the original and in the mended text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: usize,
    byte: usize,
}

impl<'a> Document<'a> {
    /// Finds all syntax errors of `text`.
    pub fn new(text: &'a str) -> Self {
        let mut document = Document { original: text, mended: text.to_owned(), errors: Vec::new() };
        for _ in 0..ROUNDS {
            let found = document.syntax_errors();
            let (mendable, _): (Vec<_>, Vec<_>) = found.into_iter().partition(SyntaxError::hides_the_rest);
            if mendable.is_empty() {
                break;
            }
            // From the end, so that what is inserted moves no place that is still to come.
            for error in mendable.into_iter().rev() {
                document.mend(&error);
                document.errors.push(error);
            }
        }
        let rest = document.syntax_errors();
        document.errors.extend(rest);
        document.errors.sort_by_key(|error| error.start);
        // The first error of a line, or of a list or inline table, is the cause of those behind it.
        document.errors.dedup_by(|error, previous| {
            error.start.line == previous.start.line || (error.is_in_brackets() && previous.is_in_brackets())
        });
        document
    }

    /// The text to which every place in [`Self::table`] and of an error refers.
    pub fn mended(&self) -> &str {
        &self.mended
    }

    /// Where the errors are.
    pub fn errors(&self) -> Vec<Range<usize>> {
        self.errors.iter().map(|error| error.span(&self.mended)).collect()
    }

    /// What could be read.
    pub fn table(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.mended).0.into_inner()
    }

    /// Each syntax error with its place and the dotted key that it most likely concerns.
    pub fn complaints<'d>(
        &'d self,
        table: &'d DeTable<'_>,
    ) -> impl Iterator<Item = (usize, String, Complaint)> + 'd {
        self.errors.iter().map(|error| {
            let span = error.span(&self.mended);
            let line = &self.original[line_around(self.original, error.span(self.original).start)];
            (span.start, self.key_at(table, span.start, line), self.complaint(error, line))
        })
    }

    fn syntax_errors(&self) -> Vec<SyntaxError> {
        let mut errors: Vec<_> = DeTable::parse_recoverable(&self.mended)
            .1
            .iter()
            .map(|error| SyntaxError::new(&self.mended, error))
            .collect();
        errors.sort_by_key(|error| error.start);
        errors
    }

    /// Closes a section's name; blanks a line out that cannot be mended.
    fn mend(&mut self, error: &SyntaxError) {
        let at = error.start.offset(&self.mended);
        let line = line_around(&self.mended, at);
        let again = self.errors.iter().any(|earlier| earlier.start.line == error.start.line);
        let bracket = match error.message.as_str() {
            _ if again => None,
            message if message.starts_with(UNCLOSED_TABLE) => Some("]"),
            message if message.starts_with(UNCLOSED_ARRAY_TABLE) => {
                Some(if self.mended[line.start..at].ends_with(']') { "]" } else { "]]" })
            }
            _ => None,
        };
        match bracket {
            Some(bracket) => self.mended.insert_str(at, bracket),
            None => {
                let blanks = " ".repeat(line.len());
                self.mended.replace_range(line, &blanks);
            }
        }
    }

    fn key_at(&self, table: &DeTable<'_>, offset: usize, line: &str) -> String {
        let mut section = (0, String::new());
        nearest_header(&self.mended, table, "", offset, &mut section);
        let (_, section) = section;
        let Some((key, _)) = line.split_once('=') else { return section };
        let key = key.trim();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return section;
        }
        if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
    }

    /// Says it without repeating anything of the value, which may be a secret.
    fn complaint(&self, error: &SyntaxError, line: &str) -> Complaint {
        let written = self.original.get(error.span(self.original)).unwrap_or_default();
        let (key, value) = line.split_once('=').unwrap_or_default();
        let (what, expected) = match error.message.split_once(", expected ") {
            Some((what, expected)) => (what, Some(expected)),
            None => (error.message.as_str(), None),
        };
        let number = value.trim_start().starts_with(|c: char| c.is_ascii_digit());
        let (message, fix) = match what {
            "duplicate key" if line.trim_start().starts_with('[') => {
                ("this section is already there", "put the settings of both into one of them")
            }
            "duplicate key" => ("is already set in this section", "remove one of the two"),
            "string values must be quoted" if written.is_empty() => ("has no value", "write one after the ="),
            "string values must be quoted" if SPOKEN_BOOLEANS.contains(&written) => {
                ("is no TOML value", "write true or false, or put quotes around a text")
            }
            "invalid boolean" => ("is no TOML value", "write true or false, or put quotes around a text"),
            "string values must be quoted" | "invalid integer number" | "invalid float" if number => {
                if let Some(fix) = convert::quantity_fix(key.trim(), value.trim()) {
                    return Complaint::new("has a unit behind the number, but the key has it already", fix);
                }
                ("is no TOML value", "write the number alone, or put quotes around a text")
            }
            "string values must be quoted" => ("is a text without quotes", "put quotes around it"),
            "unexpected leading zero" => ("is a number with a leading zero", "write it without the zero"),
            "unexpected key or value" => {
                ("this line goes on behind its end", "write one setting a line, and # before a comment")
            }
            "invalid basic string" | "invalid literal string" => {
                ("this text is not closed", "write the quote at its end, on the same line")
            }
            "missing escaped value" => (
                "a backslash in double quotes begins an escape",
                "write \\\\ for a backslash, or put the text in single quotes",
            ),
            UNCLOSED_TABLE => ("the section's name is not closed", "write ] behind it"),
            UNCLOSED_ARRAY_TABLE => ("the section's name is not closed", "write ]] behind it"),
            NO_VALUE => ("this line sets nothing", "write KEY = VALUE, or # before a comment"),
            "invalid unquoted key" => (
                "a key without quotes has only a-z, A-Z, 0-9, - and _",
                "write it without the other signs, or # before a comment",
            ),
            "unquoted keys cannot be empty" => ("there is no key", "write one before the ="),
            _ if error.is_in_brackets() => (
                "a list or table in brackets is not closed before this, or a comma is missing",
                "write the missing ] or } or comma",
            ),
            other => {
                let fix = match expected {
                    Some("nothing") | None => "correct the TOML here".into(),
                    Some(expected) => format!("write {expected} here"),
                };
                return Complaint::new(other, fix);
            }
        };
        Complaint::new(message, fix)
    }
}

impl SyntaxError {
    fn new(text: &str, error: &Error) -> Self {
        let span = error.span().unwrap_or_default();
        SyntaxError {
            start: Place::new(text, span.start),
            end: Place::new(text, span.end),
            message: error.message().to_owned(),
        }
    }

    fn span(&self, text: &str) -> Range<usize> {
        self.start.offset(text)..self.end.offset(text)
    }

    /// toml reads nothing behind a line without `=`, and takes lines behind an open bracket for a
    /// part of the section's name.
    fn hides_the_rest(&self) -> bool {
        [NO_VALUE, UNCLOSED_TABLE, UNCLOSED_ARRAY_TABLE].iter().any(|error| self.message.starts_with(error))
    }

    fn is_in_brackets(&self) -> bool {
        IN_BRACKETS.iter().any(|error| self.message.starts_with(error))
    }
}

impl Place {
    fn new(text: &str, offset: usize) -> Self {
        let start = line_around(text, offset).start;
        Place { line: text[..start].matches('\n').count(), byte: offset.min(text.len()) - start }
    }

    fn offset(self, text: &str) -> usize {
        let before: usize = text.split_inclusive('\n').take(self.line).map(str::len).sum();
        text.floor_char_boundary(before + self.byte)
    }
}

/// Finds the last section header at or before `offset`: its start and path.
fn nearest_header(text: &str, table: &DeTable<'_>, path: &str, offset: usize, best: &mut (usize, String)) {
    for (name, value) in table {
        let path = match path {
            "" => name.get_ref().to_string(),
            parent => format!("{parent}.{}", name.get_ref()),
        };
        let mut visit = |start: usize, table: &DeTable<'_>, path: &str| {
            if text[start..].starts_with('[') && (best.0..=offset).contains(&start) {
                *best = (start, path.to_owned());
            }
            nearest_header(text, table, path, offset, best);
        };
        match value.get_ref() {
            DeValue::Table(table) => visit(value.span().start, table, &path),
            DeValue::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    if let DeValue::Table(table) = element.get_ref() {
                        visit(element.span().start, table, &format!("{path}[{index}]"));
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

/// Errors that hide others are nearly all found in the first round, and what they hid in the
/// second. A bound, so that no text is read without end.
const ROUNDS: usize = 8;

// Messages of toml 1.2, as far as something better can be said; the golden files show when they change.
const NO_VALUE: &str = "key with no value";
const UNCLOSED_TABLE: &str = "unclosed table";
const UNCLOSED_ARRAY_TABLE: &str = "unclosed array table";
const IN_BRACKETS: [&str; 11] = [
    "extra assignment between key-value pairs",
    "extra comma in array",
    "extra comma in inline table",
    "invalid inline table element",
    "missing assignment between key-value pairs",
    "missing comma between array elements",
    "missing comma between key-value pairs",
    "missing key for inline table element",
    "unclosed array,",
    "unclosed inline table",
    "unexpected `=` in array",
];

/// What people write for a boolean that TOML does not know.
const SPOKEN_BOOLEANS: [&str; 12] =
    ["yes", "no", "on", "off", "True", "False", "TRUE", "FALSE", "Yes", "No", "On", "Off"];
