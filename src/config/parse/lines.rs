//! Where the lines of a text are.

use std::ops::Range;

/// The lines of a text, counted from 0, by byte offsets.
pub(super) struct Lines {
    starts: Vec<usize>,
    end: usize,
}

impl Lines {
    pub fn new(text: &str) -> Self {
        let behind_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { starts: std::iter::once(0).chain(behind_breaks).collect(), end: text.len() }
    }

    /// The place of an offset; one behind the end is in the last line.
    pub fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        Place { line, byte: offset.min(self.end) - self.starts[line] }
    }

    /// The line without its break.
    pub fn range(&self, line: usize) -> Range<usize> {
        let end = self.starts.get(line + 1).map_or(self.end, |next| next - 1);
        self.starts[line]..end
    }

    /// The offset of a place, at most that of its line's end.
    pub fn offset(&self, place: Place) -> usize {
        let line = self.range(place.line);
        (line.start + place.byte).min(line.end)
    }
}

/// A line, and a byte in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: usize,
    pub byte: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_its_place_and_back() {
        for text in ["", "\n", "a", "a = 1\n\nb = 2\n", "a\nb"] {
            let lines = Lines::new(text);
            for offset in 0..=text.len() {
                let place = lines.place(offset);
                assert_eq!(lines.offset(place), offset, "{text:?}");
                assert_eq!(place.line, text[..offset].matches('\n').count());
            }
            assert_eq!(lines.place(usize::MAX), lines.place(text.len()));
        }
    }
}
