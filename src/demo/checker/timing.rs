//! The clocks of a transport stream, and the rate at which it arrives.

use std::collections::VecDeque;
use std::time::Duration;

use mpeg2ts_reader::packet::Packet;

use crate::units::{Bitrate, ByteCount};

/// A time stamp (PTS, DTS): 90 kHz, 33 bits, so that it starts over after 26.5 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks(u64);

impl Ticks {
    /// From the value in the stream; only its 33 bits count.
    pub const fn new(value: u64) -> Self {
        Ticks(value % WRAP)
    }

    /// The time stamp of a time since some epoch.
    pub fn at(time: Duration) -> Self {
        let ticks = time.as_nanos() * u128::from(TICKS_PER_SECOND) / NS_PER_SECOND;
        // The remainder of a division by 2^33 fits.
        Ticks((ticks % u128::from(WRAP)) as u64)
    }

    pub const fn value(self) -> u64 {
        self.0
    }

    /// Ticks from `earlier` to this, the shorter way round; negative when this is the earlier one.
    pub const fn since(self, earlier: Ticks) -> i64 {
        let ahead = (self.0 + WRAP - earlier.0) % WRAP;
        if ahead < WRAP / 2 { ahead as i64 } else { ahead as i64 - WRAP as i64 }
    }
}

/// How long ticks last; nothing when negative.
pub(super) fn ticks(count: i64) -> Duration {
    Duration::from_nanos(u64::try_from(i128::from(count) * 100_000 / 9).unwrap_or(0))
}

/// How far arrivals lie behind their presentation times. Meaningful alone only where both are on one
/// clock; the differences always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Of the newest unit: arrival time less presentation time, in ticks modulo 2^33.
    pub newest: Ticks,
    /// The smallest, in the same way.
    pub smallest: Ticks,
    /// Largest less smallest: the jitter of arrival.
    pub spread: Duration,
}

impl Lag {
    /// Takes the next unit's lag into account.
    pub(super) fn updated(lag: Option<Lag>, at: Duration, pts: Ticks) -> Lag {
        let newest = Ticks::new((Ticks::at(at).0 + WRAP) - pts.0);
        let Some(lag) = lag else {
            return Lag { newest, smallest: newest, spread: Duration::ZERO };
        };
        let above = newest.since(lag.smallest);
        if above < 0 {
            Lag { newest, smallest: newest, spread: lag.spread + ticks(-above) }
        } else {
            Lag { newest, spread: lag.spread.max(ticks(above)), ..lag }
        }
    }
}

/// The program clock reference (PCR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReport {
    pub references: u64,
    /// Between neighbours, on the clock's own time, gaps of the transport aside.
    pub longest_interval: Duration,
    /// Intervals above the 100 ms that the standard allows.
    pub too_long: u64,
    /// Times that it ran backwards without having announced it.
    pub backwards: u64,
}

#[derive(Debug, Default)]
pub(super) struct ProgramClock {
    report: ClockReport,
    last: Option<Ticks>,
}

impl ProgramClock {
    /// The next interval is not the stream's fault.
    pub fn excuse_next(&mut self) {
        self.last = None;
    }

    pub fn check(&mut self, packet: &Packet<'_>) {
        let Some(field) = packet.adaptation_field() else { return };
        let Ok(reference) = field.pcr() else { return };
        // The extension, to 27 MHz, is finer than anything checked here.
        let now = Ticks::new(reference.base());
        self.report.references += 1;
        if let Some(last) = self.last.replace(now)
            && !field.discontinuity_indicator()
        {
            let interval = now.since(last);
            self.report.longest_interval = self.report.longest_interval.max(ticks(interval));
            self.report.too_long += u64::from(ticks(interval) > LONGEST_INTERVAL);
            self.report.backwards += u64::from(interval < 0);
        }
    }

    pub fn report(&self) -> ClockReport {
        self.report
    }
}

/// Bytes that arrived, and how many of them in the last second.
#[derive(Debug, Default)]
pub(super) struct RateWindow {
    /// Arrivals of the last second in slots of 20 ms: at most 51.
    slots: VecDeque<(Duration, u64)>,
    total: u64,
}

impl RateWindow {
    pub fn add(&mut self, at: Duration, bytes: usize) {
        self.total += bytes as u64;
        match self.slots.back_mut() {
            Some((start, sum)) if at < *start + SLOT => *sum += bytes as u64,
            _ => self.slots.push_back((at, bytes as u64)),
        }
        while self.slots.front().is_some_and(|(start, _)| *start + WINDOW + SLOT < at) {
            self.slots.pop_front();
        }
    }

    pub fn total(&self) -> ByteCount {
        ByteCount::new(self.total)
    }

    /// The mean of the second before `now`.
    pub fn last_second(&self, now: Duration) -> Bitrate {
        let recent = self.slots.iter().filter(|(start, _)| *start + WINDOW > now);
        ByteCount::new(recent.map(|(_, bytes)| bytes).sum()) / WINDOW
    }
}

pub const TICKS_PER_SECOND: u64 = 90_000;
const WRAP: u64 = 1 << 33;
const NS_PER_SECOND: u128 = 1_000_000_000;
/// ISO/IEC 13818-1, 2.7.2.
const LONGEST_INTERVAL: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(1);
const SLOT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_go_round() {
        let (before, after) = (Ticks::new(WRAP - 10), Ticks::new(20));
        assert_eq!(after.since(before), 30);
        assert_eq!(before.since(after), -30);
        assert_eq!(ticks(90_000), Duration::from_secs(1));
        assert_eq!(ticks(-1), Duration::ZERO);
        // 2^33 ticks are 95 443.717 688 8 s.
        assert_eq!(Ticks::at(Duration::from_secs(95_444)).value(), 25_408);
    }

    #[test]
    fn the_lag_survives_a_wrap() {
        let arrival = Duration::from_secs(1);
        let lag = Lag::updated(None, arrival, Ticks::new(WRAP - 90_000));
        assert_eq!(lag.newest.value(), 180_000);
        let lag = Lag::updated(Some(lag), arrival, Ticks::new(0));
        assert_eq!((lag.newest.value(), lag.smallest.value()), (90_000, 90_000));
        assert_eq!(lag.spread, Duration::from_secs(1));
        let lag = Lag::updated(Some(lag), Duration::from_millis(1500), Ticks::new(0));
        assert_eq!((lag.smallest.value(), lag.spread), (90_000, Duration::from_secs(1)));
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut window = RateWindow::default();
        for ms in (0..3000).step_by(10) {
            window.add(Duration::from_millis(ms), 1000);
        }
        let rate = window.last_second(Duration::from_secs(3));
        assert!((784..=816).contains(&rate.as_kbps()), "{rate}");
        assert_eq!(window.last_second(Duration::from_secs(5)), Bitrate::ZERO);
        assert!(window.slots.len() <= 52);
        assert_eq!(window.total(), ByteCount::new(300_000));
    }
}
