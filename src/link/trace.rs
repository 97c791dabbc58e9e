//! Recorded capacity of real links.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::units::Bitrate;

/// The capacity of a link over time, repeated without end.
///
/// Two spellings are read; lines that are empty or start with `#` are comments:
/// - Mahimahi (R. Netravali et al., USENIX ATC 2015): one time in whole milliseconds a line, each an
///   opportunity to deliver 1500 bytes; the last one is also the period.
/// - `ms,kbps`: from that time on, that rate; the last step lasts as long as the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub(super) capacity: Recorded,
    pub(super) period_ns: u64,
}

/// Shared, since both the relay and many simulations read the same long trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Recorded {
    /// Rising times in ns of [`OPPORTUNITY_BYTES`] each, the last at most the period.
    Opportunities(Arc<[u64]>),
    /// Rising start times in ns, the first 0, each with its rate.
    Steps(Arc<[(u64, Bitrate)]>),
}

/// What makes a trace unreadable.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TraceError {
    #[error("trace line {line}: {text:?} is neither a time in ms (Mahimahi) nor \"ms,kbit/s\"")]
    Line { line: usize, text: String },
    #[error("trace line {line}: time goes backwards")]
    Backwards { line: usize },
    #[error("trace: it never lets anything through")]
    NoCapacity,
}

impl Trace {
    /// How long until it repeats.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period_ns)
    }
}

impl FromStr for Trace {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let mut lines = (1..)
            .zip(text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .peekable();
        match lines.peek() {
            Some((_, first)) if first.contains(',') => steps(lines),
            _ => opportunities(lines),
        }
    }
}

fn opportunities<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Trace, TraceError> {
    let mut times = Vec::new();
    for (line, text) in lines {
        let ms: u64 = text.parse().map_err(|_| unreadable(line, text))?;
        let ns = ms.checked_mul(NS_PER_MS).ok_or_else(|| unreadable(line, text))?;
        if times.last().is_some_and(|last| *last > ns) {
            return Err(TraceError::Backwards { line });
        }
        times.push(ns);
    }
    match times.last() {
        None | Some(0) => Err(TraceError::NoCapacity),
        Some(&period_ns) => Ok(Trace { capacity: Recorded::Opportunities(times.into()), period_ns }),
    }
}

fn steps<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Trace, TraceError> {
    let mut steps: Vec<(u64, Bitrate)> = Vec::new();
    let mut first_ns = 0;
    for (line, text) in lines {
        let (ms, kbps) = text.split_once(',').ok_or_else(|| unreadable(line, text))?;
        let ns = amount(ms, NS_PER_MS as f64).ok_or_else(|| unreadable(line, text))?;
        let rate = amount(kbps, 1000.0).map(Bitrate::from_bps).ok_or_else(|| unreadable(line, text))?;
        if steps.is_empty() {
            first_ns = ns;
        } else if steps.last().is_some_and(|(last, _)| last + first_ns >= ns) {
            return Err(TraceError::Backwards { line });
        }
        steps.push((ns - first_ns, rate));
    }
    if steps.iter().all(|(_, rate)| *rate == Bitrate::ZERO) {
        return Err(TraceError::NoCapacity);
    }
    let period_ns = match steps[..] {
        [.., (before, _), (last, _)] => last + (last - before),
        _ => NS_PER_SECOND, // A single step: any period gives the same constant rate.
    };
    Ok(Trace { capacity: Recorded::Steps(steps.into()), period_ns })
}

/// A non-negative number in units of 1/`scale`.
fn amount(text: &str, scale: f64) -> Option<u64> {
    let number: f64 = text.trim().parse().ok()?;
    (0.0..1e15 / scale).contains(&number).then_some((number * scale).round() as u64)
}

fn unreadable(line: usize, text: &str) -> TraceError {
    TraceError::Line { line, text: text.chars().take(40).collect() }
}

/// What one line of a Mahimahi trace can deliver: an MTU of Ethernet.
pub(super) const OPPORTUNITY_BYTES: u32 = 1500;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mahimahi() {
        let trace: Trace = "# a comment\n1\n1\n\n5\n".parse().unwrap();
        assert_eq!(trace.period(), Duration::from_millis(5));
        assert_eq!(trace.capacity, Recorded::Opportunities([1_000_000, 1_000_000, 5_000_000].into()));
    }

    #[test]
    fn reads_steps_from_their_own_time_zero() {
        let trace: Trace = "1000,8000\n2000, 0\n4000,1500.5\n".parse().unwrap();
        assert_eq!(trace.period(), Duration::from_secs(5));
        let second = 1_000_000_000;
        let rate = |bps| Bitrate::from_bps(bps);
        let expected = [(0, rate(8_000_000)), (second, rate(0)), (3 * second, rate(1_500_500))];
        assert_eq!(trace.capacity, Recorded::Steps(expected.into()));
    }

    #[test]
    fn refuses_what_is_not_a_trace() {
        let error = |text: &str| text.parse::<Trace>().unwrap_err();
        assert_eq!(error(""), TraceError::NoCapacity);
        assert_eq!(error("0\n0\n"), TraceError::NoCapacity);
        assert_eq!(error("0,0\n10,0\n"), TraceError::NoCapacity);
        assert_eq!(error("3\n2\n"), TraceError::Backwards { line: 2 });
        assert_eq!(error("0,5\n0,6\n"), TraceError::Backwards { line: 2 });
        assert_eq!(error("1\nx\n"), TraceError::Line { line: 2, text: "x".into() });
        assert_eq!(error("0,-3\n"), TraceError::Line { line: 1, text: "0,-3".into() });
        assert_eq!(error("0,NaN\n"), TraceError::Line { line: 1, text: "0,NaN".into() });
    }
}
