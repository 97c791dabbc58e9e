//! The actuator on simulated encoders, in virtual time.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// An encoder that does as it is told, but for what its fields say, and the actuator before it.
struct Rig {
    actuator: Actuator,
    now: Duration,
    /// Multiplies what it is told.
    factor: f64,
    /// What it gives whatever it is told.
    fixed: Option<f64>,
    /// The most that the scene needs, in bits per second.
    scene: f64,
    /// After what time it follows.
    lag: Duration,
    commands: Vec<(Duration, Bitrate)>,
    /// What came out, a tick each, over the last second.
    output: VecDeque<f64>,
}

impl Rig {
    fn new(cost: ChangeCost) -> Rig {
        Rig {
            actuator: Actuator::new(cost),
            now: Duration::ZERO,
            factor: 1.0,
            fixed: None,
            scene: f64::INFINITY,
            lag: Duration::ZERO,
            commands: Vec::new(),
            output: VecDeque::new(),
        }
    }

    /// Runs for so many seconds towards a target in kbit/s.
    fn run(&mut self, seconds: f64, target: impl Fn(f64) -> f64) {
        let begin = self.now;
        while (self.now - begin).as_secs_f64() < seconds {
            let target = Bitrate::from_bps((target((self.now - begin).as_secs_f64()) * 1e3) as u64);
            let encoded = (self.output.len() == 50).then(|| Bitrate::from_bps(self.mean_output() as u64));
            if let Some(rate) = self.actuator.command(self.now, target, encoded) {
                self.commands.push((self.now, rate));
            }
            self.output.push_back(self.gives());
            if self.output.len() > 50 {
                self.output.pop_front();
            }
            self.now += TICK;
        }
    }

    fn gives(&self) -> f64 {
        let heard = self.commands.iter().rev().find(|(at, _)| *at + self.lag <= self.now);
        let rate = heard.or(self.commands.first()).map_or(0.0, |(_, rate)| rate.as_bps() as f64);
        self.fixed.unwrap_or((rate * self.factor).min(self.scene))
    }

    fn mean_output(&self) -> f64 {
        self.output.iter().sum::<f64>() / self.output.len() as f64
    }

    fn told(&self) -> f64 {
        self.commands.last().unwrap().1.as_bps() as f64 / 1e3
    }

    fn commands_since(&self, since: Duration) -> usize {
        self.commands.iter().filter(|(at, _)| *at >= since).count()
    }
}

#[test]
fn a_free_encoder_is_told_at_once_and_not_for_trifles() {
    let mut rig = Rig::new(FREE);
    rig.run(0.02, |_| 1000.0);
    rig.run(0.02, |_| 1010.0);
    assert_eq!(rig.told(), 1000.0, "1 % more is not worth it");
    rig.run(0.02, |_| 989.0);
    assert_eq!(rig.told(), 989.0, "1.1 % less is");
    rig.run(0.02, |_| 1020.0);
    rig.run(0.02, |_| 500.0);
    rig.run(0.02, |_| 6000.0);
    assert_eq!((rig.told(), rig.commands.len()), (6000.0, 5));
}

#[test]
fn a_target_at_rest_is_reached() {
    for cost in [FREE, KEY_FRAME_EACH] {
        let mut rig = Rig::new(cost);
        rig.run(1.0, |_| 5800.0);
        rig.run(3.0, |_| 6000.0);
        assert_eq!(rig.told(), 6000.0, "{cost:?}");
        let settled = rig.commands.len();
        rig.run(30.0, |_| 6000.0);
        assert_eq!(rig.commands.len(), settled, "{cost:?}: nothing more to say");
    }
}

#[test]
fn where_each_change_is_a_key_frame_rises_are_collected_and_falls_are_not() {
    let mut rig = Rig::new(KEY_FRAME_EACH);
    rig.run(10.0, |at| 1000.0 * (1.0 + 0.3 * at)); // 30 % of the start each second
    let apart: Vec<_> = rig.commands.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert!(apart.iter().all(|apart| *apart >= KEY_FRAME_EACH.interval), "{apart:?}");
    assert!(rig.commands.windows(2).all(|two| two[1].1.as_bps() as f64 >= 1.15 * two[0].1.as_bps() as f64));

    let mut rig = Rig::new(KEY_FRAME_EACH);
    rig.run(0.1, |_| 4000.0);
    let cut = rig.now;
    rig.run(2.0, |_| 2000.0);
    let told = rig.commands[1].0;
    assert!(told - Duration::ZERO >= Duration::from_millis(300) && told - cut <= Duration::from_millis(300));
    assert_eq!(rig.commands_since(cut), 1);

    // A law in trouble may ask for ever less; not every wish becomes a key frame.
    let begin = rig.now;
    rig.run(3.0, |at| 2000.0 * 0.5f64.powf(at));
    assert!(rig.commands_since(begin) <= 11 && rig.told() < 300.0, "{:?}", rig.commands);
}

#[test]
fn an_excess_is_learnt_within_seconds_and_stays_learnt_without_swinging() {
    for lag in [0, 1000] {
        let mut rig = Rig { factor: 1.3, lag: Duration::from_millis(lag), ..Rig::new(FREE) };
        rig.run(6.0, |_| 3000.0);
        assert!((rig.actuator.bias() - 1.3).abs() < 0.04, "{}", rig.actuator.bias());
        rig.run(3.0, |_| 3000.0);
        let settled = rig.now;
        for _ in 0..20 {
            rig.run(1.0, |_| 3000.0);
            assert!((rig.mean_output() / 3e6 - 1.0).abs() < 0.03, "{}", rig.mean_output());
        }
        assert!(rig.commands_since(settled) <= 2, "{:?}", rig.commands);
    }
}

#[test]
fn an_excess_that_begins_later_is_corrected_within_four_seconds() {
    let mut rig = Rig::new(FREE);
    rig.run(10.0, |_| 3000.0);
    assert_eq!(rig.actuator.bias(), 1.0);
    rig.factor = 1.3;
    rig.run(4.0, |_| 3000.0);
    assert!(rig.actuator.bias() > 1.25, "{}", rig.actuator.bias());
}

#[test]
fn it_is_forgotten_when_the_encoder_behaves() {
    let mut rig = Rig { factor: 1.4, ..Rig::new(FREE) };
    rig.run(10.0, |_| 3000.0);
    rig.factor = 1.0;
    rig.run(25.0, |_| 3000.0);
    assert!(rig.actuator.bias() < 1.02, "{}", rig.actuator.bias());
    assert!(rig.told() > 2900.0);
}

#[test]
fn a_static_scene_is_not_compensated_and_teaches_nothing() {
    let mut rig = Rig { scene: 400e3, ..Rig::new(FREE) };
    rig.run(20.0, |_| 3000.0);
    assert_eq!((rig.actuator.bias(), rig.commands.len()), (1.0, 1));

    let mut rig = Rig { factor: 1.3, ..Rig::new(FREE) };
    rig.run(10.0, |_| 3000.0);
    rig.scene = 400e3;
    rig.run(20.0, |_| 3000.0);
    assert!(rig.actuator.bias() > 1.2, "motion will come again");
}

#[test]
fn an_honest_encoder_is_never_suspected_however_late_it_follows() {
    let targets: [fn(f64) -> f64; 4] = [
        |at| if at % 20.0 < 10.0 { 6000.0 } else { 1500.0 },
        |at| 3000.0 * (1.0 + 0.2 * (at * 2.0).sin()),
        |at| 3000.0 * (1.0 + 0.3 * (at * 0.7).sin()),
        |at| 6000.0 * 0.75f64.powf(at % 12.0),
    ];
    for (which, target) in targets.into_iter().enumerate() {
        for lag in [0, 200, 1000] {
            let mut rig = Rig { lag: Duration::from_millis(lag), ..Rig::new(FREE) };
            for _ in 0..300 {
                let begin = rig.now.as_secs_f64();
                rig.run(0.2, |at| target(begin + at));
                assert!(rig.actuator.bias() < 1.04, "target {which}, lag {lag} ms: {}", rig.actuator.bias());
            }
        }
    }
}

#[test]
fn one_that_does_not_listen_is_recognised_and_one_that_does_is_not() {
    let mut rig = Rig { fixed: Some(6e6), ..Rig::new(FREE) };
    rig.run(15.0, |_| 1000.0);
    assert!(rig.actuator.ignores_target());
    assert_eq!(rig.actuator.bias(), MOST_BIAS);
    rig.fixed = None;
    rig.run(10.0, |_| 1000.0);
    assert!(!rig.actuator.ignores_target());

    let mut rig = Rig { factor: 1.3, ..Rig::new(FREE) };
    rig.run(15.0, |_| 1000.0);
    assert!(!rig.actuator.ignores_target());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn commands_stay_above_zero_and_below_the_target_whatever_comes(
        step in 0.0..1.0f64,
        interval in 0u64..5_000,
        key_frame: bool,
        calls in prop::collection::vec((0u64..100_000, any::<u64>(), prop::option::of(any::<u64>())), 1..300),
    ) {
        let cost = ChangeCost { step, interval: Duration::from_millis(interval), key_frame };
        let mut actuator = Actuator::new(cost);
        for (now, target, encoded) in calls { // time may run backwards
            let target = Bitrate::from_bps(target);
            let command = actuator.command(Duration::from_millis(now), target, encoded.map(Bitrate::from_bps));
            if let Some(rate) = command {
                prop_assert!(rate > Bitrate::ZERO && rate <= target);
            }
            prop_assert!((1.0..=MOST_BIAS).contains(&actuator.bias()));
            prop_assert!(actuator.bias.samples() <= 64);
        }
    }

    #[test]
    fn any_pace_of_calls_is_bounded_and_right(apart in 1u64..400, factor in 1.0..1.6f64) {
        let mut actuator = Actuator::new(FREE);
        let (target, mut told) = (Bitrate::from_kbps(2000), Bitrate::from_kbps(2000));
        for call in 0..(20_000 / apart) {
            let encoded = Bitrate::from_bps((told.as_bps() as f64 * factor) as u64);
            told = actuator.command(Duration::from_millis(call * apart), target, Some(encoded)).unwrap_or(told);
            prop_assert!(actuator.bias.samples() <= 64);
        }
        if factor > 1.1 {
            prop_assert!((actuator.bias() / factor - 1.0).abs() < 0.03, "{} for {factor}", actuator.bias());
        }
    }
}

const TICK: Duration = Duration::from_millis(20);
const MOST_BIAS: f64 = 1.6;
const FREE: ChangeCost = ChangeCost { step: 0.02, interval: Duration::ZERO, key_frame: false };
const KEY_FRAME_EACH: ChangeCost =
    ChangeCost { step: 0.15, interval: Duration::from_millis(1500), key_frame: true };
