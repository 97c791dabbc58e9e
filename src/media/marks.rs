//! The marks in the test picture and the test tone: a flash and a beep each second, by which a receiver
//! sees how far the sound is from the picture. Pure.
//!
//! A picture is there for 33 ms, a beep begins within one sample: a flash that was on or off would tell its
//! time to a picture. So it swells over [`SWELL`], and has half of its brightness when the beep begins: the
//! pictures before and behind that moment say between them when it was, whatever the frame rate's phase.

use std::f64::consts::TAU;
use std::ops::Range;
use std::time::Duration;

/// From one mark to the next.
pub const PERIOD: Duration = Duration::from_secs(1);

/// From dark to bright: eight pictures at 30 a second, so that one may be missing.
pub const SWELL: Duration = Duration::from_millis(268);

/// Luma half-way between dark and bright.
pub const HALF: f64 = (DARK + BRIGHT) / 2.0;

/// The beep's amplitude, of full scale.
pub const BEEP: f32 = 0.5;

/// Columns and rows of the flash in a picture of this size: the lower right corner.
pub fn place(width: u32, height: u32) -> (Range<u32>, Range<u32>) {
    let range = |side: u32| {
        let even = |part: u32| part / 2 * 2;
        even(side - side / SHARE)..even(side)
    };
    (range(width), range(height))
}

/// How bright the flash is in a picture of this time, on the pipelines' clock.
pub fn luma(at: Duration) -> u8 {
    // Since the swell's middle: a little before and after it, then bright, then dark.
    let since = (at + PERIOD / 2).as_secs_f64() % PERIOD.as_secs_f64() - PERIOD.as_secs_f64() / 2.0;
    let swell = SWELL.as_secs_f64();
    let share = if since < BRIGHT_UNTIL { since / swell + 0.5 } else { 0.0 };
    (DARK + (BRIGHT - DARK) * share.clamp(0.0, 1.0)).round() as u8
}

/// The beep's sample at this time, on the pipelines' clock; full scale is 1.
pub fn beep(at: Duration) -> f32 {
    let since = at.as_secs_f64() % PERIOD.as_secs_f64();
    if since < BEEP_LASTS { BEEP * (TAU * BEEP_HZ * since).sin() as f32 } else { 0.0 }
}

/// Black and white of video.
const DARK: f64 = 16.0;
const BRIGHT: f64 = 235.0;

/// The flash takes a quarter of the width and of the height: enough blocks to come through at any rate.
const SHARE: u32 = 4;

/// Seconds after the swell's middle.
const BRIGHT_UNTIL: f64 = 0.3;

/// Seconds.
const BEEP_LASTS: f64 = 0.1;
const BEEP_HZ: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_flash_has_half_its_brightness_when_the_beep_begins() {
        for second in [0, 1, 86_400 * 30] {
            let begin = Duration::from_secs(second);
            assert_eq!(f64::from(luma(begin)), HALF.round());
            assert_eq!(beep(begin), 0.0);
            assert!(beep(begin + Duration::from_micros(250)) > 0.49);
            assert_eq!(luma(begin + ms(200)), 235);
            assert_eq!(luma(begin + ms(500)), 16);
            assert_eq!(luma(begin + ms(850)), 16);
            assert_eq!(beep(begin + ms(500)), 0.0);
            let (before, behind) = (luma(begin + ms(967)), luma(begin + ms(1033)));
            assert_eq!(u32::from(before) + u32::from(behind), 251, "{before} {behind}");
        }
    }

    #[test]
    fn the_place_is_a_corner_of_whole_blocks_of_colour() {
        assert_eq!(place(320, 180), (240..320, 134..180));
        assert_eq!(place(16, 16), (12..16, 12..16));
    }
}
