//! Where all problems of one document come together.

use std::cell::RefCell;
use std::ops::Range;

use super::super::{Document, Problem, Problems};
use super::lines::Lines;
use super::syntax::Source;

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

/// The problems found so far, and what was lost to syntax errors; of one document, or of two that are laid over
/// each other, the second one's offsets counted on from the first one's end.
pub(super) struct Report<'a> {
    pages: Vec<Page<'a>>,
    /// Sorted, and none touches another.
    broken: Vec<Range<usize>>,
    problems: RefCell<Vec<(usize, Problem)>>,
}

/// One of the documents.
struct Page<'a> {
    document: Document,
    /// The offset at which it begins.
    start: usize,
    text: &'a str,
    lines: Lines,
    mended_lines: Lines,
}

impl<'a> Report<'a> {
    /// A report on these documents, in the order of their offsets. All offsets are those in the mended texts,
    /// which have the same lines, and of which the parts that hold syntax errors are not to be relied on.
    pub fn new(sources: &[(Document, &'a Source<'a>)]) -> Self {
        let (mut pages, mut broken, mut start) = (Vec::new(), Vec::new(), 0);
        for (document, source) in sources {
            let (text, mended) = (source.original(), source.mended());
            let (lines, mended_lines) = (Lines::new(text), Lines::new(mended));
            pages.push(Page { document: *document, start, text, lines, mended_lines });
            broken.extend(source.errors().into_iter().map(|span| span.start + start..span.end + start));
            start += length(source);
        }
        Report { pages, broken: merged(broken), problems: RefCell::default() }
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
        let problem = Problem { document: self.document(offset), line, column, key, message, fix };
        self.problems.borrow_mut().push((offset, problem));
    }

    /// Which document an offset is in.
    pub fn document(&self, offset: usize) -> Document {
        self.page(offset).document
    }

    /// `line 12`; `line 12 of the file` where there are two documents.
    pub fn place(&self, offset: usize) -> String {
        let page = self.page(offset);
        let (line, _) = page.position(offset);
        match page.document {
            _ if self.pages.len() == 1 => format!("line {line}"),
            Document::File => format!("line {line} of the file"),
            Document::Overrides => format!("line {line} of the overrides"),
        }
    }

    /// Line and column of an offset in its document, both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        self.page(offset).position(offset)
    }

    fn page(&self, offset: usize) -> &Page<'a> {
        let behind = self.pages.partition_point(|page| page.start <= offset);
        &self.pages[behind - 1] // the first begins at 0
    }

    /// What was read, or everything that stands against it.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(offset, _)| *offset);
        let problems: Vec<_> = problems.into_iter().map(|(_, problem)| problem).collect();
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ => Err(Problems(problems)),
        }
    }
}

impl Page<'_> {
    /// Line and column, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let place = self.mended_lines.place(offset - self.start);
        let line = self.lines.range(place.line);
        let at = self.text.floor_char_boundary(self.lines.offset(place));
        let before = self.text[line.start..at].trim_start_matches(BYTE_ORDER_MARK);
        (place.line + 1, before.chars().count() + 1)
    }
}

/// By how much the offsets of a document behind this one are larger: a part at this one's end and one at that
/// one's beginning do not touch.
pub(super) fn length(source: &Source<'_>) -> usize {
    source.mended().len() + 1
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

    fn report<'a>(sources: &'a [Source<'a>]) -> Report<'a> {
        let documents = [Document::File, Document::Overrides];
        Report::new(&documents.into_iter().zip(sources).collect::<Vec<_>>())
    }

    fn position(report: &Report<'_>, offset: usize) -> (usize, usize) {
        report.page(offset).position(offset)
    }

    #[test]
    fn places_are_counted_in_characters() {
        let text = "a = 1\n# é\u{1F600}x\n\nend";
        let sources = [Source::new(text)];
        let report = report(&sources);
        assert_eq!(position(&report, 0), (1, 1));
        assert_eq!(position(&report, 5), (1, 6));
        assert_eq!(position(&report, 6), (2, 1));
        assert_eq!(position(&report, "a = 1\n# é\u{1F600}".len()), (2, 5));
        assert_eq!(position(&report, usize::MAX), (4, 4));
    }

    #[test]
    fn what_touches_a_broken_part_is_broken() {
        let sources = [Source::new("")];
        let report = Report { broken: merged(vec![20..25, 5..8, 7..10]), ..report(&sources) };
        for (span, broken) in
            [(0..4, false), (0..5, true), (6..7, true), (10..12, true), (11..19, false), (26..30, false)]
        {
            assert_eq!(report.is_broken(&span), broken, "{span:?}");
        }
    }

    #[test]
    fn a_mended_line_moves_no_other_place() {
        let sources = [Source::new("[é # x\nb\nc = 1")];
        let report = report(&sources);
        assert_eq!(position(&report, "[é".len()), (1, 3));
        assert_eq!(position(&report, "[é] # x\n".len()), (2, 1));
        assert_eq!(position(&report, "[é] # x\n \nc".len()), (3, 2));
    }

    #[test]
    fn each_of_two_documents_has_its_own_lines() {
        let sources = [Source::new("a = 1\nb = 2"), Source::new("c = 3\nd")];
        let report = report(&sources);
        let second = length(&sources[0]);
        assert_eq!(report.place(second - 1), "line 2 of the file");
        assert_eq!(report.place(second), "line 1 of the overrides");
        assert_eq!(position(&report, second + "c = 3\n".len()), (2, 1));
        assert_eq!(report.document(usize::MAX), Document::Overrides);
        assert!(!report.is_broken(&(0..second - 1)), "the error is in the second");
        assert!(report.is_broken(&(second + 6..second + 7)));
    }
}
