//! The document as TOML: what could be read of it, and what is wrong with its syntax.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::convert;
use super::lines::{Lines, Place};
use super::report::Complaint;

/// A text, mended so far that toml reads all of it.
pub(super) struct Source<'a> {
    original: &'a str,
    lines: Lines,
    /// The same lines. What stands on them keeps its column, but for the rest of a mended line.
    mended: String,
    mended_lines: Lines,
    errors: Vec<SyntaxError>,
}

/// Its places are the same in the original and in the mended text.
struct SyntaxError {
    start: Place,
    end: Place,
    message: String,
}

impl<'a> Source<'a> {
    /// Finds all syntax errors of `text`.
    pub fn new(text: &'a str) -> Self {
        let mut document = Source {
            original: text,
            lines: Lines::new(text),
            mended: text.to_owned(),
            mended_lines: Lines::new(text),
            errors: Vec::new(),
        };
        for _ in 0..ROUNDS {
            let found = document.syntax_errors();
            let mendable: Vec<_> = found.into_iter().filter(SyntaxError::hides_the_rest).collect();
            if mendable.is_empty() {
                break;
            }
            document.mend(&mendable);
            document.errors.extend(mendable);
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

    /// The text as it was written.
    pub fn original(&self) -> &'a str {
        self.original
    }

    /// The text to which every place in [`Self::table`] and of an error refers.
    pub fn mended(&self) -> &str {
        &self.mended
    }

    /// Where the errors are.
    pub fn errors(&self) -> Vec<Range<usize>> {
        self.errors.iter().map(|error| error.span(&self.mended_lines)).collect()
    }

    /// What could be read.
    pub fn table(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.mended).0.into_inner()
    }

    /// Each syntax error with its place and the dotted key that it most likely concerns.
    pub fn complaints(&self, table: &DeTable<'_>) -> Vec<(usize, String, Complaint)> {
        let mut headers = vec![(0, String::new())];
        collect_headers(&self.mended, table, "", &mut headers);
        headers.sort();
        let complaint = |error: &SyntaxError| {
            let offset = self.mended_lines.offset(error.start);
            let line = &self.original[self.lines.range(error.start.line)];
            let (_, section) = &headers[headers.partition_point(|(start, _)| *start <= offset) - 1];
            (offset, key_in(section, line), self.complaint(error, line))
        };
        self.errors.iter().map(complaint).collect()
    }

    fn syntax_errors(&self) -> Vec<SyntaxError> {
        let (_, errors) = DeTable::parse_recoverable(&self.mended);
        let mut errors: Vec<_> =
            errors.iter().map(|error| SyntaxError::new(&self.mended_lines, error)).collect();
        errors.sort_by_key(|error| error.start);
        errors
    }

    /// Closes the names of sections; blanks a line out that cannot be mended.
    fn mend(&mut self, errors: &[SyntaxError]) {
        let tried: BTreeSet<usize> = self.errors.iter().map(|error| error.start.line).collect();
        let mut lines: Vec<Cow<'_, str>> = self.mended.split('\n').map(Cow::Borrowed).collect();
        for error in errors {
            let line = &mut lines[error.start.line];
            let (before, behind) = line.split_at(line.floor_char_boundary(error.start.byte));
            let bracket = match error.what() {
                _ if tried.contains(&error.start.line) => None,
                UNCLOSED_TABLE => Some("]"),
                UNCLOSED_ARRAY_TABLE if before.ends_with(']') => Some("]"),
                UNCLOSED_ARRAY_TABLE => Some("]]"),
                _ => None,
            };
            *line = match bracket {
                Some(bracket) => format!("{before}{bracket}{behind}").into(),
                None => " ".repeat(line.len()).into(),
            };
        }
        self.mended = lines.join("\n");
        self.mended_lines = Lines::new(&self.mended);
    }

    /// Says it without repeating anything of the value, which may be a secret.
    fn complaint(&self, error: &SyntaxError, line: &str) -> Complaint {
        let written = self.original.get(error.span(&self.lines)).unwrap_or_default();
        let (key, value) = line.split_once('=').unwrap_or_default();
        let number = value.trim_start().starts_with(|c: char| c.is_ascii_digit());
        let (message, fix) = match error.what() {
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
                let fix = match error.message.split_once(EXPECTED) {
                    Some((_, "nothing")) | None => "correct the TOML here".into(),
                    Some((_, expected)) => format!("write {expected} here"),
                };
                return Complaint::new(other, fix);
            }
        };
        Complaint::new(message, fix)
    }
}

impl SyntaxError {
    fn new(lines: &Lines, error: &Error) -> Self {
        let span = error.span().unwrap_or_default();
        let (start, end) = (lines.place(span.start), lines.place(span.end));
        SyntaxError { start, end, message: error.message().to_owned() }
    }

    fn span(&self, lines: &Lines) -> Range<usize> {
        lines.offset(self.start)..lines.offset(self.end)
    }

    /// The message without what was expected instead.
    fn what(&self) -> &str {
        self.message.split_once(EXPECTED).map_or(self.message.as_str(), |(what, _)| what)
    }

    /// toml reads nothing behind a line without `=`, and takes lines behind an open bracket for a
    /// part of the section's name.
    fn hides_the_rest(&self) -> bool {
        [NO_VALUE, UNCLOSED_TABLE, UNCLOSED_ARRAY_TABLE].contains(&self.what())
    }

    fn is_in_brackets(&self) -> bool {
        IN_BRACKETS.contains(&self.what())
    }
}

/// The dotted key that `line` of a section sets, or the section where that is not clear.
fn key_in(section: &str, line: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match line.split_once('=').map(|(key, _)| key.trim()) {
        Some(key) if !key.is_empty() && key.chars().all(plain) => match section {
            "" => key.to_owned(),
            section => format!("{section}.{key}"),
        },
        _ => section.to_owned(),
    }
}

/// Collects each section header's place and path.
fn collect_headers(text: &str, table: &DeTable<'_>, path: &str, headers: &mut Vec<(usize, String)>) {
    for (name, value) in table {
        let path = match path {
            "" => name.get_ref().to_string(),
            parent => format!("{parent}.{}", name.get_ref()),
        };
        let mut visit = |start: usize, table: &DeTable<'_>, path: &str| {
            if text[start..].starts_with('[') {
                headers.push((start, path.to_owned()));
            }
            collect_headers(text, table, path, headers);
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

/// Errors that hide others are nearly all found in the first round, and what they hid in the
/// second. A bound, so that no text is read without end.
const ROUNDS: usize = 8;

// Messages of toml 1.2, as far as something better can be said; the golden files show when they change.
const EXPECTED: &str = ", expected ";
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
    "unclosed array",
    "unclosed inline table",
    "unexpected `=` in array",
];

/// What people write for a boolean that TOML does not know.
const SPOKEN_BOOLEANS: [&str; 12] =
    ["yes", "no", "on", "off", "True", "False", "TRUE", "FALSE", "Yes", "No", "On", "Off"];
