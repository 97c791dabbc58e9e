//! Where all problems of one document come together.

use std::cell::RefCell;
use std::ops::Range;

use super::super::{Config, Problem, Problems};
use super::lines::Lines;

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
    lines: Lines,
    mended_lines: Lines,
    /// Sorted, and none touches another.
    broken: Vec<Range<usize>>,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> Report<'a> {
    /// A report on `text`. All offsets are those in `mended`, which has the same lines, and of which
    /// the parts in `broken` are not to be relied on.
    pub fn new(text: &'a str, mended: &str, broken: Vec<Range<usize>>) -> Self {
        Report {
            text,
            lines: Lines::new(text),
            mended_lines: Lines::new(mended),
            broken: merged(broken),
            problems: RefCell::default(),
        }
    }

    /// No syntax error: what is absent was really left out.
    pub fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// A syntax error touches this part, so that the value read from it means nothing.
    pub fn is_broken(&self, span: &Range<usize>) -> bool {
        let first = self.broken.partition_point(|broken| broken.end < span.start);
        self.broken.get(first).is_some_and(|broken| broken.start <= span.end)
    }

    /// Notes a problem at a byte offset.
    pub fn push(&self, offset: usize, key: String, complaint: Complaint) {
        let (line, column) = self.position(offset);
        let Complaint { message, fix } = complaint;
        self.problems.borrow_mut().push((offset, Problem { line, column, key, message, fix }));
    }

    /// Line and column, both from 1, of a byte offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let place = self.mended_lines.place(offset);
        let line = self.lines.range(place.line);
        let at = self.text.floor_char_boundary(self.lines.offset(place));
        let before = self.text[line.start..at].trim_start_matches(BYTE_ORDER_MARK);
        (place.line + 1, before.chars().count() + 1)
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

fn merged(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
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
    fn what_touches_a_broken_part_is_broken() {
        let report = Report::new("", "", vec![20..25, 5..8, 7..10]);
        for (span, broken) in
            [(0..4, false), (0..5, true), (6..7, true), (10..12, true), (11..19, false), (26..30, false)]
        {
            assert_eq!(report.is_broken(&span), broken, "{span:?}");
        }
    }

    #[test]
    fn a_mended_line_moves_no_other_place() {
        let report = Report::new("[é # x\nb\nc", "[é] # x\n \nc", Vec::new());
        assert_eq!(report.position("[é".len()), (1, 3));
        assert_eq!(report.position("[é] # x\n".len()), (2, 1));
        assert_eq!(report.position("[é] # x\n \nc".len()), (3, 2));
    }
}
