//! What gives way below the rate that the picture needs: the frame rate, then the size.
//!
//! An encoder that is given too few bits makes blocks of the picture; fewer and smaller pictures look
//! better then. Each rung of the ladder asks for less than the one above. Every change costs a key frame
//! and is seen, so the machine is slow, slower on the way up, and leaves room between down and up.
//!
//! Where the figures come from: Apple's authoring specification for HLS gives H.264 of 640×360 365 kbit/s
//! at least and 1280×720 3 Mbit/s (0.05 and 0.11 bit per pixel), YouTube's live settings began at
//! 1.5 Mbit/s for 720p30 (0.054): below that the picture is not good. The ladder is for where it is bad,
//! about half of that. Bits for a pixel fall with size: the rule of thumb is that the rate goes with the
//! pixels to the power of 0.75; and fewer frames differ more from each other: half of them need about two
//! thirds of the rate.

use std::time::Duration;

use crate::config::{self, Framerate};
use crate::units::Bitrate;

/// A stream's picture as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub width: u32,
    pub height: u32,
    pub framerate: Framerate,
}

/// One step of the ladder, as parts of the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// One picture of so many is coded; 1 is all of them.
    pub framerate_divisor: u32,
    pub scale: Scale,
}

/// A picture's sides against the mode's; a greater one is a smaller picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    Full,
    ThreeQuarters,
    Half,
}

/// Decides on which rung the encoder stands.
///
/// ```text
///             target < need                     a while (DOWN_AFTER)
///         ┌──────────────────▶ Lacking(since) ───────────────────────▶ one rung down, Content
/// Content ┤◀── otherwise ─────────┘
///         └──────────────────▶ Ample(since) ─────────────────────────▶ one rung up, Content
///             target ≥ 1.5 × need of the rung above      long (UP_AFTER)
/// ```
/// It begins at the top, and no further step follows before the same time has passed again.
#[derive(Clone, Debug)]
pub struct LadderMachine {
    mode: Mode,
    /// From the full mode down.
    rungs: Vec<Rung>,
    at: usize,
    trend: Trend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trend {
    Content,
    Lacking { since: Duration },
    Ample { since: Duration },
}

impl LadderMachine {
    /// At the full mode. With [`config::Ladder::Off`] it stays there.
    pub fn new(choice: config::Ladder, mode: Mode) -> Self {
        LadderMachine { mode, rungs: rungs(choice, mode.framerate), at: 0, trend: Trend::Content }
    }

    /// The encoder may give `target` from now on. The rung to change to, where there is one; `now` is the
    /// time since any fixed moment.
    pub fn observe(&mut self, now: Duration, target: Bitrate) -> Option<Rung> {
        self.trend = match (self.trend, self.wish(target)) {
            (_, Wish::Stay) => Trend::Content,
            (Trend::Lacking { since }, Wish::Down) => Trend::Lacking { since },
            (Trend::Content | Trend::Ample { .. }, Wish::Down) => Trend::Lacking { since: now },
            (Trend::Ample { since }, Wish::Up) => Trend::Ample { since },
            (Trend::Content | Trend::Lacking { .. }, Wish::Up) => Trend::Ample { since: now },
        };
        match self.trend {
            Trend::Lacking { since } if now.saturating_sub(since) >= DOWN_AFTER => self.at += 1,
            Trend::Ample { since } if now.saturating_sub(since) >= UP_AFTER => self.at -= 1,
            Trend::Content | Trend::Lacking { .. } | Trend::Ample { .. } => return None,
        }
        self.trend = Trend::Content;
        Some(self.rung())
    }

    /// Where it stands.
    pub fn rung(&self) -> Rung {
        self.rungs[self.at]
    }

    fn wish(&self, target: Bitrate) -> Wish {
        let target = target.as_bps() as f64;
        let need = |rung: usize| self.mode.at(self.rungs[rung]).need();
        if self.at + 1 < self.rungs.len() && target < need(self.at) {
            Wish::Down
        } else if self.at > 0 && target >= ROOM * need(self.at - 1) {
            Wish::Up
        } else {
            Wish::Stay
        }
    }
}

enum Wish {
    Down,
    Stay,
    Up,
}

impl Mode {
    /// What the encoder is given on a rung. The width is a multiple of 16, as macroblocks are, where the
    /// mode's is no smaller than that; both sides are even.
    pub fn at(self, rung: Rung) -> Mode {
        let (numerator, denominator) = match rung.scale {
            Scale::Full => {
                return Mode { framerate: divided(self.framerate, rung.framerate_divisor), ..self };
            }
            Scale::ThreeQuarters => (3, 4),
            Scale::Half => (1, 2),
        };
        let width =
            (f64::from(self.width) * numerator as f64 / denominator as f64 / MACROBLOCK).round() * MACROBLOCK;
        let width = (width as u32).max(16).min(self.width);
        let height = f64::from(self.height) * f64::from(width) / f64::from(self.width);
        let height = ((height / 2.0).round() as u32 * 2).max(2);
        Mode { width, height, framerate: divided(self.framerate, rung.framerate_divisor) }
    }

    /// Bits per second below which H.264 of this mode looks bad.
    fn need(self) -> f64 {
        let pixels = f64::from(self.width) * f64::from(self.height) / HD_PIXELS;
        let frames = self.framerate.as_f64() / HD_FRAMERATE;
        HD_NEED * pixels.powf(SIZE_POWER) * frames.powf(FRAMERATE_POWER)
    }
}

impl Rung {
    /// The whole mode.
    pub const FULL: Rung = Rung { framerate_divisor: 1, scale: Scale::Full };

    /// What both allow.
    pub fn and(self, other: Rung) -> Rung {
        Rung {
            framerate_divisor: self.framerate_divisor.max(other.framerate_divisor),
            scale: self.scale.max(other.scale),
        }
    }
}

/// Half the frame rate is hardly missed; a third of it is. So the size gives way in between, where it may.
fn rungs(choice: config::Ladder, framerate: Framerate) -> Vec<Rung> {
    let below = [
        Rung { framerate_divisor: 2, scale: Scale::Full },
        Rung { framerate_divisor: 2, scale: Scale::ThreeQuarters },
        Rung { framerate_divisor: 2, scale: Scale::Half },
    ];
    let last_divisor = if framerate.as_f64() >= FAST { 4 } else { 3 };
    let (below, last_scale) = match choice {
        config::Ladder::Off => return vec![Rung::FULL],
        config::Ladder::Framerate => (&below[..1], Scale::Full),
        config::Ladder::FramerateAndSize => (&below[..], Scale::Half),
    };
    let slow_enough = |divisor: u32| framerate.as_f64() / f64::from(divisor) >= LEAST_FRAMERATE;
    let last = Rung { framerate_divisor: last_divisor, scale: last_scale };
    let below = below.iter().copied().chain([last]).map(|rung| {
        // A mode that is slow already keeps its frame rate, and can still become smaller.
        if slow_enough(rung.framerate_divisor) {
            rung
        } else {
            let divisor = if slow_enough(2) { 2 } else { 1 };
            Rung { framerate_divisor: divisor, ..rung }
        }
    });
    let mut rungs: Vec<Rung> = std::iter::once(Rung::FULL).chain(below).collect();
    rungs.dedup();
    rungs
}

fn divided(framerate: Framerate, divisor: u32) -> Framerate {
    Framerate::new(framerate.numerator(), framerate.denominator() * divisor).unwrap_or(framerate)
}

/// 1280×720 at 30 frames per second: below 0.03 bit a pixel, live H.264 of moving scenes breaks up.
const HD_NEED: f64 = 0.03 * HD_PIXELS * HD_FRAMERATE;
const HD_PIXELS: f64 = 1280.0 * 720.0;
const HD_FRAMERATE: f64 = 30.0;

/// Rate against pixels of one picture: Ben Waggoner's rule for scaling bit rates.
const SIZE_POWER: f64 = 0.75;

/// Rate against pictures a second: half of them need two thirds.
const FRAMERATE_POWER: f64 = 0.6;

/// Room above the need of the rung above before it is climbed: a target that swings by ±20 % reaches
/// from need to 1.5 times that, and stays where it is.
const ROOM: f64 = 1.5;

/// The law's own swings are over by then; until then the encoder's coarser pictures bridge them.
const DOWN_AFTER: Duration = Duration::from_millis(2500);

/// The law is back at full rate 4 to 6 s after a fade: what holds longer than that is worth a change.
const UP_AFTER: Duration = Duration::from_secs(8);

/// Below this, motion is a row of stills, and a Raspberry Pi's encoder hangs below 9.
const LEAST_FRAMERATE: f64 = 10.0;

/// Modes from here on have more frames to give: 60 becomes 30, then 15.
const FAST: f64 = 40.0;

/// Side of H.264's unit of coding, in pixels.
const MACROBLOCK: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ladder;
    use proptest::prelude::*;

    const HD: (u32, u32, u32) = (1280, 720, 30);
    const SMALL: (u32, u32, u32) = (640, 360, 30);

    fn mode((width, height, framerate): (u32, u32, u32)) -> Mode {
        Mode { width, height, framerate: Framerate::new(framerate, 1).unwrap() }
    }

    /// The changes, as seconds and rungs, over so many seconds in steps of 20 ms.
    fn run(
        machine: &mut LadderMachine,
        from: u64,
        seconds: u64,
        kbps: impl Fn(f64) -> f64,
    ) -> Vec<(f64, Rung)> {
        let times = (from * 50..(from + seconds) * 50).map(|tick| Duration::from_millis(tick * 20));
        let target = |at: Duration| Bitrate::from_bps((kbps(at.as_secs_f64()) * 1e3) as u64);
        times.filter_map(|at| Some((at.as_secs_f64(), machine.observe(at, target(at))?))).collect()
    }

    #[test]
    fn goes_down_where_the_mode_needs_more_and_not_where_it_does_not() {
        for choice in [Ladder::Framerate, Ladder::FramerateAndSize] {
            assert_eq!(run(&mut LadderMachine::new(choice, mode(SMALL)), 0, 60, |_| 500.0), []);
            let steps = run(&mut LadderMachine::new(choice, mode(HD)), 0, 60, |_| 500.0);
            assert_eq!(steps[0], (2.5, Rung { framerate_divisor: 2, scale: Scale::Full }));
        }
        assert_eq!(run(&mut LadderMachine::new(Ladder::Off, mode(HD)), 0, 60, |_| 100.0), []);
    }

    #[test]
    fn frame_rate_goes_first_then_size_and_all_of_it_comes_back() {
        let mut machine = LadderMachine::new(Ladder::FramerateAndSize, mode(HD));
        let down: Vec<_> = run(&mut machine, 0, 30, |_| 100.0).into_iter().map(|(_, rung)| rung).collect();
        let rung = |framerate_divisor, scale| Rung { framerate_divisor, scale };
        let expected =
            [rung(2, Scale::Full), rung(2, Scale::ThreeQuarters), rung(2, Scale::Half), rung(3, Scale::Half)];
        assert_eq!(down, expected);
        let up: Vec<_> = run(&mut machine, 30, 60, |_| 6000.0).into_iter().map(|(_, rung)| rung).collect();
        assert_eq!(up, [expected[2], expected[1], expected[0], Rung::FULL]);

        let mut machine = LadderMachine::new(Ladder::Framerate, mode((1280, 720, 60)));
        let down: Vec<_> = run(&mut machine, 0, 30, |_| 100.0).into_iter().map(|(_, rung)| rung).collect();
        assert_eq!(down, [rung(2, Scale::Full), rung(4, Scale::Full)]);
    }

    #[test]
    fn a_mode_that_is_slow_already_keeps_its_frame_rate() {
        let rungs = |choice, framerate| rungs(choice, Framerate::new(framerate, 1).unwrap());
        assert_eq!(rungs(Ladder::Framerate, 15), [Rung::FULL]);
        assert_eq!(rungs(Ladder::Framerate, 25).len(), 2, "25 and 12.5, not 8.3");
        let sizes: Vec<_> = rungs(Ladder::FramerateAndSize, 15).iter().map(|rung| rung.scale).collect();
        assert_eq!(sizes, [Scale::Full, Scale::ThreeQuarters, Scale::Half]);
    }

    #[test]
    fn steps_keep_their_distance() {
        let mut machine = LadderMachine::new(Ladder::FramerateAndSize, mode(HD));
        let down = run(&mut machine, 0, 30, |_| 100.0);
        assert!(
            down.windows(2).all(|two| two[1].0 - two[0].0 >= DOWN_AFTER.as_secs_f64() - 1e-6),
            "{down:?}"
        );
        let up = run(&mut machine, 30, 60, |_| 6000.0);
        assert!(up[0].0 - 30.0 >= UP_AFTER.as_secs_f64() - 1e-6);
        assert!(up.windows(2).all(|two| two[1].0 - two[0].0 >= UP_AFTER.as_secs_f64() - 1e-6), "{up:?}");
    }

    #[test]
    fn what_two_rungs_allow_is_the_less_of_each() {
        let slow = Rung { framerate_divisor: 2, scale: Scale::Full };
        let small = Rung { framerate_divisor: 1, scale: Scale::ThreeQuarters };
        assert_eq!(slow.and(small), Rung { framerate_divisor: 2, scale: Scale::ThreeQuarters });
        assert_eq!(Rung::FULL.and(small).and(Rung::FULL), small);
    }

    #[test]
    fn a_short_dip_is_bridged() {
        let mut machine = LadderMachine::new(Ladder::Framerate, mode(HD));
        assert_eq!(run(&mut machine, 0, 60, |at| if at % 10.0 < 2.0 { 300.0 } else { 3000.0 }), []);
    }

    #[test]
    fn sizes_are_even_and_keep_their_shape() {
        let at = |mode: Mode, scale| {
            let small = mode.at(Rung { framerate_divisor: 2, scale });
            (small.width, small.height)
        };
        assert_eq!(at(mode(SMALL), Scale::ThreeQuarters), (480, 270));
        assert_eq!(at(mode(HD), Scale::ThreeQuarters), (960, 540));
        assert_eq!(at(mode(HD), Scale::Half), (640, 360));
        assert_eq!(at(mode((1920, 1080, 30)), Scale::Half), (960, 540));
        assert_eq!(at(mode((64, 64, 30)), Scale::Half), (32, 32));
        let slow = mode(HD).at(Rung { framerate_divisor: 2, scale: Scale::Full }).framerate;
        assert_eq!((slow.numerator(), slow.denominator()), (15, 1));
    }

    proptest! {
        #[test]
        fn a_target_that_swings_by_a_fifth_never_makes_it_go_back_and_forth(
            middle in 100.0..3000.0f64, period in 0.5..60.0f64, sharp: bool, size: bool,
        ) {
            let choice = if size { Ladder::FramerateAndSize } else { Ladder::Framerate };
            let mut machine = LadderMachine::new(choice, mode(HD));
            let swing = |at: f64| {
                let wave = (at / period * std::f64::consts::TAU).sin();
                middle * (1.0 + 0.2 * if sharp { wave.signum() } else { wave })
            };
            let steps = run(&mut machine, 0, 300, swing);
            let ways: Vec<_> = steps.iter().map(|(_, rung)| {
                machine.rungs.iter().position(|known| known == rung).unwrap()
            }).collect();
            prop_assert!(ways.is_sorted(), "{:?}", steps);
        }

        #[test]
        fn any_targets_and_times_give_known_rungs_one_apart(
            calls in prop::collection::vec((0u64..60_000, any::<u64>()), 1..300),
        ) {
            let mut machine = LadderMachine::new(Ladder::FramerateAndSize, mode(HD));
            for (now, target) in calls {
                let before = machine.at;
                let change = machine.observe(Duration::from_millis(now), Bitrate::from_bps(target));
                prop_assert_eq!(change.is_some(), machine.at != before);
                prop_assert!(machine.at.abs_diff(before) <= 1);
            }
        }

        #[test]
        fn each_rung_needs_less_than_the_one_above(
            width in 16u32..3840, height in 16u32..2160, framerate in 1u32..=240,
        ) {
            let mode = mode((width / 2 * 2, height / 2 * 2, framerate));
            let machine = LadderMachine::new(Ladder::FramerateAndSize, mode);
            let needs: Vec<f64> = machine.rungs.iter().map(|rung| mode.at(*rung).need()).collect();
            prop_assert!(needs.is_sorted_by(|a, b| a >= b), "{:?}", needs);
        }
    }
}
