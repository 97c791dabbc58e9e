//! Where all problems of one document come together.

use std::cell::RefCell;
use std::ops::Range;

use super::super::{Config, Problem, Problems};

/// What is wrong with one value, and what to write instead; its place and key are the report's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub message: String,
    pub fix: String,
}

impl Complaint {
    pub fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Complaint { message: message.into(), fix: fix.into() }
    }
}

/// All that is wrong with one value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaints(pub Vec<Complaint>);

impl From<Complaint> for Complaints {
    fn from(complaint: Complaint) -> Self {
        Complaints(vec![complaint])
    }
}

/// The problems found so far, and what was lost to syntax errors.
pub(super) struct Report<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
    mended_line_starts: Vec<usize>,
    broken: Vec<Range<usize>>,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> Report<'a> {
    /// A report on `text`. All offsets are those in `mended`, which has the same lines, and of which
    /// the parts in `broken` are not to be relied on.
    pub fn new(text: &'a str, mended: &str, broken: Vec<Range<usize>>) -> Self {
        Report {
            text,
            line_starts: line_starts(text),
            mended_line_starts: line_starts(mended),
            broken,
            problems: RefCell::default(),
        }
    }

    /// No syntax error: what is absent was really left out.
    pub fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// A syntax error touches this part, so that the value read from it means nothing.
    pub fn is_broken(&self, span: &Range<usize>) -> bool {
        self.broken.iter().any(|broken| broken.start <= span.end && span.start <= broken.end)
    }

    /// Notes a problem at a byte offset.
    pub fn push(&self, offset: usize, key: String, complaint: Complaint) {
        let (line, column) = self.position(offset);
        let Complaint { message, fix } = complaint;
        self.problems.borrow_mut().push((offset, Problem { line, column, key, message, fix }));
    }

    /// Line and column, both from 1, of a byte offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.mended_line_starts.partition_point(|start| *start <= offset);
        let byte = offset - self.mended_line_starts[line - 1];
        let start = self.line_starts[line - 1];
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let at = self.text.floor_char_boundary(start.saturating_add(byte).min(end));
        let before = self.text[start..at].trim_start_matches(BYTE_ORDER_MARK);
        (line, before.chars().count() + 1)
    }

    /// The configuration, or everything that stands against it.
    pub fn finish(self, config: Option<Config>) -> Result<Config, Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(offset, _)| *offset);
        let problems: Vec<_> = problems.into_iter().map(|(_, problem)| problem).collect();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_breaks).collect()
}

/// Some editors put it at the start of a file; nobody counts it as a column.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let text = "a = 1\n# é\u{1F600}x\n\nend";
        let report = Report::new(text, text, Vec::new());
        assert_eq!(report.position(0), (1, 1));
        assert_eq!(report.position(5), (1, 6));
        assert_eq!(report.position(6), (2, 1));
        assert_eq!(report.position("a = 1\n# é\u{1F600}".len()), (2, 5));
        assert_eq!(report.position(usize::MAX), (4, 4));
    }

    #[test]
    fn a_mended_line_moves_no_other_place() {
        let report = Report::new("[é # x\nb\nc", "[é] # x\n \nc", Vec::new());
        assert_eq!(report.position("[é".len()), (1, 3));
        assert_eq!(report.position("[é] # x\n".len()), (2, 1));
        assert_eq!(report.position("[é] # x\n \nc".len()), (3, 2));
    }
}
