//! Prometheus' text format, version 0.0.4: families of samples, each with its help and type.
//!
//! Written here because it is a page of code, and what is shown is what a status says at that moment: a library's
//! registry would want counters of its own, to be kept in step with the daemon's.

use std::fmt::{Display, Write};

/// The page's `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics. What is written to it keeps the format's rules of escaping.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// What a metric is to whoever computes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises while the daemon runs; its name ends in `_total`.
    Counter,
    Gauge,
}

/// One metric, for as many label sets as there are.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Every sample of that name belongs into it: a name stands once on a page.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { page: &mut self.0, name }
    }

    pub fn into_text(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes every text");
    }
}

impl Family<'_> {
    /// One sample. A value that is no finite number is left out, as what is not known is.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        let Value(value) = value.into();
        if !value.is_finite() {
            return;
        }
        self.page.push_str(self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let before = if index == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{name}=\"{text}\""));
        }
        self.page.push_str(if labels.is_empty() { " " } else { "} " });
        self.write(format_args!("{value}\n"));
    }

    /// 1 for the word that is the case, 0 for each of the others.
    pub fn states(&mut self, labels: &[(&str, &str)], words: &[&str], current: &str) {
        for word in words {
            let labels: Vec<_> = labels.iter().copied().chain([("state", *word)]).collect();
            self.sample(&labels, *word == current);
        }
    }

    fn write(&mut self, text: impl Display) {
        write!(self.page, "{text}").expect("a string takes every text");
    }
}

/// The format knows 64-bit floating point alone: above 2^53 a count is shown rounded.
#[derive(Clone, Copy, Debug)]
pub struct Value(f64);

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value(value as f64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value(f64::from(u8::from(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_families_of_samples_with_help_and_type() {
        let mut page = Exposition::default();
        let mut family = page.family("frames_total", Kind::Counter, "Frames, since\nthe start.");
        family.sample(&[("stream", "a\"b\\c\nd"), ("reason", "x")], 3u64);
        family.sample(&[("stream", "b"), ("reason", "x")], f64::NAN);
        page.family("up", Kind::Gauge, "Whether.").sample(&[], true);
        page.family("state", Kind::Gauge, "Which.").states(&[("id", "1")], &["on", "off"], "off");
        assert_eq!(
            page.into_text(),
            "# HELP frames_total Frames, since\\nthe start.\n# TYPE frames_total counter\n\
             frames_total{stream=\"a\\\"b\\\\c\\nd\",reason=\"x\"} 3\n\
             # HELP up Whether.\n# TYPE up gauge\nup 1\n\
             # HELP state Which.\n# TYPE state gauge\n\
             state{id=\"1\",state=\"on\"} 0\nstate{id=\"1\",state=\"off\"} 1\n"
        );
    }
}
