//! What is wrong with a document, in words for the person who wrote it.

use std::fmt;

/// One thing that is wrong, where it stands, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the two it stands in.
    pub document: Document,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Dotted, as in `streams.main.outputs[0].latency_ms`; empty where no key is concerned.
    pub key: String,
    /// What is wrong. Never holds a secret, nor a value that might.
    pub message: String,
    /// What to write, or to do.
    pub fix: String,
}

/// The two documents that make a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The administrator's.
    File,
    /// What was changed through the API, laid over the file.
    Overrides,
}

/// All that is wrong with a document, in the order of its lines; never empty where it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// One line for each problem: `path:line:column: key: what is wrong; what to write`, with the path of the
    /// document that it stands in.
    pub fn render(&self, path_of: impl Fn(Document) -> String) -> String {
        self.0.iter().map(|problem| format!("{}:{problem}\n", path_of(problem.document))).collect()
    }
}

impl fmt::Display for Problem {
    /// `line:column: key: what is wrong; what to write`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.message, self.fix)
    }
}

impl fmt::Display for Problems {
    /// As [`Problems::render`], without a path and without a last line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
