//! Whether the machine lacks voltage, and whether its processor is slowed down.

use std::time::{Duration, Instant};

use super::readings::{Clock, Flag, Flags, Readings, Zone};

/// What is the case, as of the last look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// When that was. A sensor that hangs keeps the next one waiting.
    pub looked: Option<Instant>,
    pub under_voltage: Condition,
    /// The processor is slower than it is made for, or about to be.
    pub throttled: Condition,
    /// A Raspberry Pi's firmware's own words.
    pub firmware: Option<Flags>,
    pub zones: Vec<Zone>,
    pub clock: Option<Clock>,
}

/// Something that is the case or not, with room between the two: what comes and goes by the second lasts.
///
/// ```text
///           a sign                                    no sign for a while (CALM)
///   Well ───────────▶ Suffering: reason, since ──────────────────────────────────▶ Well
///                        ▲   │ a sign
///                        └───┘
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    suffering: Option<Suffering>,
    /// How often it began, since the daemon did.
    pub times: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Suffering {
    reason: String,
    since: Instant,
    last_sign: Instant,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    UnderVoltage { reason: String },
    VoltageRestored { lasted: Duration },
    Throttled { reason: String },
    ThrottlingEnded { lasted: Duration },
}

/// Looks at one reading after the other.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    /// As of the last look.
    machine: Machine,
    throttle_count: Option<u64>,
    /// Whether the count of the last look was higher than that of the one before.
    has_risen: bool,
}

enum Change {
    Began(String),
    Ended(Duration),
}

impl Judge {
    /// To be called about once a second; tells what has changed.
    pub fn observe(&mut self, now: Instant, readings: Readings) -> Vec<Notice> {
        let voltage = self.voltage_sign(&readings);
        let throttling = self.throttling_sign(&readings);
        let voltage = self.machine.under_voltage.observe(now, voltage).map(|change| match change {
            Change::Began(reason) => Notice::UnderVoltage { reason },
            Change::Ended(lasted) => Notice::VoltageRestored { lasted },
        });
        let throttling = self.machine.throttled.observe(now, throttling).map(|change| match change {
            Change::Began(reason) => Notice::Throttled { reason },
            Change::Ended(lasted) => Notice::ThrottlingEnded { lasted },
        });
        self.machine.looked = Some(now);
        let Readings { firmware, zones, clock, .. } = readings;
        (self.machine.firmware, self.machine.zones, self.machine.clock) = (firmware, zones, clock);
        voltage.into_iter().chain(throttling).collect()
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn voltage_sign(&self, readings: &Readings) -> Option<String> {
        let is_low = self.is_flagged(readings, Flag::UnderVoltage) || readings.low_voltage == Some(true);
        is_low.then(|| LOW_VOLTAGE.to_owned())
    }

    fn throttling_sign(&mut self, readings: &Readings) -> Option<String> {
        let hottest = readings.zones.iter().map(|zone| zone.celsius).max_by(f64::total_cmp);
        let at = hottest.map(|celsius| format!(" at {celsius:.0} °C")).unwrap_or_default();
        let mut reasons = Vec::new();
        if self.is_flagged(readings, Flag::FrequencyCapped) || self.is_flagged(readings, Flag::Throttled) {
            reasons.push(match self.is_flagged(readings, Flag::UnderVoltage) {
                true => "the firmware holds the processor back for want of voltage".to_owned(),
                false => format!("the firmware holds the processor back{at}"),
            });
        } else if self.is_flagged(readings, Flag::SoftTemperatureLimit) {
            reasons.push(format!("the processor is at its soft temperature limit{at}"));
        }
        if self.counts_more(readings) {
            reasons.push(format!("the processor slows itself down because of heat{at}"));
        }
        if !readings.slowing.is_empty() {
            reasons.push(format!("the kernel cools by {}{at}", readings.slowing.join(" and ")));
        }
        reasons.extend(self.heat(&readings.zones));
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Now, or since the last look. What was before the first look is not known to be a moment ago.
    fn is_flagged(&self, readings: &Readings, flag: Flag) -> bool {
        let has_been = |flags: Flags| flags.recently(flag);
        readings.firmware.is_some_and(|flags| {
            flags.now(flag)
                || has_been(flags) && self.machine.firmware.is_some_and(|before| !has_been(before))
        })
    }

    /// A single step up is a moment's peak, which processors bear without anybody's noticing; two looks in a row
    /// are more than that.
    fn counts_more(&mut self, readings: &Readings) -> bool {
        let before = std::mem::replace(&mut self.throttle_count, readings.throttle_count);
        let rises = before.zip(readings.throttle_count).is_some_and(|(before, count)| count > before);
        let has_risen = std::mem::replace(&mut self.has_risen, rises);
        rises && (has_risen || self.machine.throttled.is_the_case())
    }

    /// Of a zone that is close to where the kernel acts.
    fn heat(&self, zones: &[Zone]) -> Option<String> {
        let margin = if self.machine.throttled.is_the_case() { STILL_CLOSE } else { CLOSE };
        let closest = zones.iter().flat_map(|zone| zone.limits.iter().map(move |limit| (zone, limit)));
        let (zone, limit) = closest.filter(|(zone, limit)| zone.celsius >= limit.celsius - margin).max_by(
            |(zone, limit), (other, its)| {
                (zone.celsius - limit.celsius).total_cmp(&(other.celsius - its.celsius))
            },
        )?;
        let (name, celsius, kind) = (&zone.name, zone.celsius, limit.kind.as_str());
        Some(format!("{name} is at {celsius:.0} °C, and {kind} at {:.0} °C", limit.celsius))
    }
}

impl Condition {
    pub fn is_the_case(&self) -> bool {
        self.suffering.is_some()
    }

    /// Why, while it is the case.
    pub fn reason(&self) -> Option<&str> {
        self.suffering.as_ref().map(|suffering| suffering.reason.as_str())
    }

    pub fn since(&self) -> Option<Instant> {
        self.suffering.as_ref().map(|suffering| suffering.since)
    }

    fn observe(&mut self, now: Instant, sign: Option<String>) -> Option<Change> {
        match (&mut self.suffering, sign) {
            (None, None) => None,
            (None, Some(reason)) => {
                self.times += 1;
                self.suffering = Some(Suffering { reason: reason.clone(), since: now, last_sign: now });
                Some(Change::Began(reason))
            }
            // The first reason stays: what it is lowered for is not to change with each degree.
            (Some(suffering), Some(_)) => {
                suffering.last_sign = now;
                None
            }
            (Some(suffering), None) => {
                let lasted = suffering.last_sign.saturating_duration_since(suffering.since);
                (now.saturating_duration_since(suffering.last_sign) >= CALM).then(|| {
                    self.suffering = None;
                    Change::Ended(lasted)
                })
            }
        }
    }
}

const LOW_VOLTAGE: &str =
    "the voltage is too low: a stronger power supply or a shorter, thicker cable is needed";

/// Without a sign for so long it is over: firmware that holds a temperature throttles and lets go by the second.
const CALM: Duration = Duration::from_secs(10);

/// Degrees below a limit. A processor under load gains five in some seconds.
const CLOSE: f64 = 5.0;

/// Degrees below a limit within which heat that has begun goes on.
const STILL_CLOSE: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Limit, LimitKind};

    /// Looks once a second.
    struct Bench {
        judge: Judge,
        now: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            let mut bench = Bench { judge: Judge::default(), now: Instant::now() };
            assert_eq!(bench.look(&Readings::default()), []);
            bench
        }

        fn look(&mut self, readings: &Readings) -> Vec<Notice> {
            self.now += Duration::from_secs(1);
            self.judge.observe(self.now, readings.clone())
        }

        /// What is told over so many seconds, with the second.
        fn told(&mut self, seconds: u32, readings: &Readings) -> Vec<(u32, Notice)> {
            let each = (1..=seconds).map(|second| (second, self.look(readings)));
            each.flat_map(|(second, notices)| notices.into_iter().map(move |notice| (second, notice)))
                .collect()
        }
    }

    fn pi(flags: &str) -> Readings {
        Readings { firmware: Flags::parse(flags), ..Readings::default() }
    }

    fn counted(throttle_count: u64) -> Readings {
        Readings { throttle_count: Some(throttle_count), ..Readings::default() }
    }

    fn heated(celsius: f64) -> Readings {
        let limits = vec![Limit { kind: LimitKind::Critical, celsius: 90.0 }];
        let name = "cpu-thermal".to_owned();
        Readings { zones: vec![Zone { number: 0, name, celsius, limits }], ..Readings::default() }
    }

    #[test]
    fn what_the_firmware_says_is_told_once_and_its_end_after_ten_quiet_seconds() {
        let mut bench = Bench::new();
        let told = bench.told(30, &pi("50005"));
        let (low, slow) =
            (LOW_VOLTAGE.into(), "the firmware holds the processor back for want of voltage".into());
        assert_eq!(
            told,
            [(1, Notice::UnderVoltage { reason: low }), (1, Notice::Throttled { reason: slow })]
        );
        let machine = bench.judge.machine();
        assert!(machine.under_voltage.reason().is_some() && machine.throttled.since().is_some());
        let lasted = Duration::from_secs(29);
        let ended = [(10, Notice::VoltageRestored { lasted }), (10, Notice::ThrottlingEnded { lasted })];
        assert_eq!(bench.told(60, &pi("0")), ended);
        assert_eq!(bench.judge.machine().throttled.times, 1);
    }

    #[test]
    fn what_comes_and_goes_by_the_second_is_one_condition() {
        let mut bench = Bench::new();
        let mut notices = 0;
        for second in 0..120 {
            notices += bench.look(&pi(if second % 9 == 0 { "4" } else { "0" })).len();
        }
        assert_eq!(notices, 1);
    }

    #[test]
    fn a_dip_between_two_looks_counts_and_one_before_the_first_does_not() {
        let mut bench = Bench { judge: Judge::default(), now: Instant::now() };
        assert_eq!(bench.told(30, &pi("f0000")), [], "before the daemon began, for all that is known");
        assert_eq!(bench.told(3, &pi("0")), []);
        let told = bench.told(1, &pi("10000"));
        assert_eq!(told, [(1, Notice::UnderVoltage { reason: LOW_VOLTAGE.into() })]);
        let ended = bench.told(60, &pi("10000"));
        let restored = Notice::VoltageRestored { lasted: Duration::ZERO };
        assert_eq!(ended, [(10, restored)], "a firmware that never forgets is not low for ever");
    }

    #[test]
    fn the_voltage_sensor_alone_tells_too() {
        let mut bench = Bench::new();
        let readings = Readings { low_voltage: Some(true), ..Readings::default() };
        assert_eq!(bench.told(20, &readings), [(1, Notice::UnderVoltage { reason: LOW_VOLTAGE.into() })]);
    }

    #[test]
    fn counts_that_go_on_rising_are_throttling_and_a_single_step_is_not() {
        let mut bench = Bench::new();
        assert_eq!(bench.told(5, &counted(900)), [], "since boot");
        assert_eq!(bench.told(5, &counted(901)), []);
        assert_eq!(bench.look(&counted(910)), []);
        let [Notice::Throttled { reason }] = &bench.look(&counted(911))[..] else { panic!("not told") };
        assert_eq!(reason, "the processor slows itself down because of heat");
        assert_eq!(bench.told(9, &counted(911)), []);
        assert_eq!(bench.look(&counted(912)), [], "it goes on");
        assert_eq!(bench.told(60, &counted(912)).len(), 1);
        assert_eq!(bench.told(60, &Readings::default()), [], "a counter that is gone tells nothing");
    }

    #[test]
    fn heat_close_to_a_limit_is_told_before_it_is_reached() {
        let mut bench = Bench::new();
        assert_eq!(bench.told(60, &heated(84.9)), []);
        let reason = "cpu-thermal is at 85 °C, and critical at 90 °C".to_owned();
        assert_eq!(bench.told(5, &heated(85.2)), [(1, Notice::Throttled { reason })]);
        assert_eq!(bench.told(60, &heated(82.5)), [], "not over before it is cooler than where it began");
        assert_eq!(bench.told(60, &heated(80.0)).len(), 1);
    }

    #[test]
    fn a_kernel_that_cools_by_the_processor_throttles() {
        let mut bench = Bench::new();
        let readings = Readings { slowing: vec!["thermal-cpufreq-0".into()], ..heated(71.0) };
        let reason = "the kernel cools by thermal-cpufreq-0 at 71 °C".to_owned();
        assert_eq!(bench.told(5, &readings), [(1, Notice::Throttled { reason })]);
    }
}
