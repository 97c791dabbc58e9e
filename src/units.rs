//! Quantities with their units, so that kbit/s and bytes cannot be mistaken for each other.
//!
//! `Bitrate * Duration = ByteCount` and `ByteCount / Duration = Bitrate`. Kilobits per second
//! exist only at the edges: in the configuration, in encoder properties, on screens.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A rate of bits, held in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing at all.
    pub const ZERO: Bitrate = Bitrate(0);

    /// From bits per second.
    pub const fn from_bps(bits_per_second: u64) -> Self {
        Bitrate(bits_per_second)
    }

    /// From kilobits (1000 bits) per second.
    pub const fn from_kbps(kilobits_per_second: u64) -> Self {
        Bitrate(kilobits_per_second * 1000)
    }

    /// In bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// In kilobits (1000 bits) per second, rounded down.
    pub const fn as_kbps(self) -> u64 {
        self.0 / 1000
    }

    /// How long this rate takes for that many bytes; `Duration::MAX` at a rate of zero.
    pub fn time_for(self, bytes: ByteCount) -> Duration {
        if self.0 == 0 {
            return Duration::MAX;
        }
        let nanos = u128::from(bytes.0) * 8 * NANOS_PER_SECOND / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Bitrate {
    /// In the largest unit that keeps at least one digit before the point: `850 kbit/s`, `6.5 Mbit/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1000 => write!(f, "{} bit/s", self.0),
            1000..1_000_000 => write!(f, "{} kbit/s", self.0 / 1000),
            bps => write!(f, "{:.1} Mbit/s", bps as f64 / 1e6),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteCount(u64);

impl ByteCount {
    /// Nothing at all.
    pub const ZERO: ByteCount = ByteCount(0);

    /// That many bytes.
    pub const fn new(bytes: u64) -> Self {
        ByteCount(bytes)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The difference, or zero where it would be negative.
    pub const fn saturating_sub(self, other: ByteCount) -> ByteCount {
        ByteCount(self.0.saturating_sub(other.0))
    }
}

impl Mul<Duration> for Bitrate {
    type Output = ByteCount;

    fn mul(self, time: Duration) -> ByteCount {
        let bytes = u128::from(self.0).saturating_mul(time.as_nanos()) / (8 * NANOS_PER_SECOND);
        ByteCount(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl Div<Duration> for ByteCount {
    type Output = Bitrate;

    /// The mean rate over `time`; zero when `time` is zero, since nothing was measured.
    fn div(self, time: Duration) -> Bitrate {
        match time.as_nanos() {
            0 => Bitrate::ZERO,
            nanos => {
                let bps = u128::from(self.0) * 8 * NANOS_PER_SECOND / nanos;
                Bitrate(u64::try_from(bps).unwrap_or(u64::MAX))
            }
        }
    }
}

impl Add for ByteCount {
    type Output = ByteCount;

    fn add(self, other: ByteCount) -> ByteCount {
        ByteCount(self.0 + other.0)
    }
}

impl AddAssign for ByteCount {
    fn add_assign(&mut self, other: ByteCount) {
        self.0 += other.0;
    }
}

impl Sub for ByteCount {
    type Output = ByteCount;

    fn sub(self, other: ByteCount) -> ByteCount {
        ByteCount(self.0 - other.0)
    }
}

impl Sum for ByteCount {
    fn sum<I: Iterator<Item = ByteCount>>(parts: I) -> ByteCount {
        parts.fold(ByteCount::ZERO, Add::add)
    }
}

impl Add for Bitrate {
    type Output = Bitrate;

    fn add(self, other: Bitrate) -> Bitrate {
        Bitrate(self.0 + other.0)
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_times_a_time_is_an_amount_and_back() {
        let rate = Bitrate::from_kbps(6_000);
        let second = Duration::from_secs(1);
        assert_eq!(rate * second, ByteCount::new(750_000));
        assert_eq!(ByteCount::new(750_000) / second, rate);
        assert_eq!(rate.time_for(ByteCount::new(750_000)), second);
    }

    #[test]
    fn the_edges_are_defined() {
        assert_eq!(ByteCount::new(9) / Duration::ZERO, Bitrate::ZERO);
        assert_eq!(Bitrate::ZERO.time_for(ByteCount::new(1)), Duration::MAX);
        assert_eq!(Bitrate::from_bps(u64::MAX) * Duration::MAX, ByteCount::new(u64::MAX));
    }

    #[test]
    fn shown_as_people_say_it() {
        assert_eq!(Bitrate::from_bps(640).to_string(), "640 bit/s");
        assert_eq!(Bitrate::from_kbps(850).to_string(), "850 kbit/s");
        assert_eq!(Bitrate::from_kbps(6_500).to_string(), "6.5 Mbit/s");
    }
}
