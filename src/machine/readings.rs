//! What a kernel says of the machine at one moment, and what its files mean.

/// At one moment. What a machine does not tell is `None`, or is not in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// A Raspberry Pi's firmware.
    pub firmware: Option<Flags>,
    /// The alarm of a Raspberry Pi's voltage sensor: too low now or two seconds ago.
    pub low_voltage: Option<bool>,
    pub zones: Vec<Zone>,
    /// Times that a processor slowed itself down because of heat, since boot, over all of them (x86).
    pub throttle_count: Option<u64>,
    /// Means of cooling that slow a processor down at the moment, by the kernel's names.
    pub slowing: Vec<String>,
    pub clock: Option<Clock>,
}

/// What is measured in one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The kernel's, of this boot.
    pub number: u32,
    /// What the driver calls it: `cpu-thermal`, `x86_pkg_temp`, …; several may be of one name.
    pub name: String,
    pub celsius: f64,
    /// Where the kernel does something drastic.
    pub limits: Vec<Limit>,
}

/// A temperature that is not to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub kind: LimitKind,
    pub celsius: f64,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Drivers are told to do with less.
    Hot,
    /// The machine is switched off.
    Critical,
}

/// The processors' clock: of the fastest of them, in kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub now_khz: u64,
    /// What it is made for.
    pub most_khz: u64,
}

/// What a Raspberry Pi's firmware answers to `get_throttled`: in the lower half what is the case, in the upper
/// half what was the case a moment ago. (The firmware remembers it from boot on, and the kernel has it forget that
/// each two seconds, when it looks.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Below 4.63 V.
    UnderVoltage,
    /// The clock is held below what it is made for.
    FrequencyCapped,
    Throttled,
    /// Of some models: somewhat slower from there on, before they are throttled.
    SoftTemperatureLimit,
}

impl Flags {
    /// As the kernel's file has them: a hexadecimal number, without `0x` as a rule.
    pub fn parse(text: &str) -> Option<Flags> {
        let digits = text.trim();
        u32::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok().map(Flags)
    }

    pub fn now(self, flag: Flag) -> bool {
        self.0 & flag.bit() != 0
    }

    /// It was the case a moment ago, and may still be.
    pub fn recently(self, flag: Flag) -> bool {
        self.0 & flag.bit() << HALF != 0
    }
}

impl Flag {
    /// In the order of their bits.
    pub const ALL: [Flag; 4] =
        [Flag::UnderVoltage, Flag::FrequencyCapped, Flag::Throttled, Flag::SoftTemperatureLimit];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Flag::UnderVoltage => "under_voltage",
            Flag::FrequencyCapped => "frequency_capped",
            Flag::Throttled => "throttled",
            Flag::SoftTemperatureLimit => "soft_temperature_limit",
        }
    }

    /// Raspberry Pi's documentation of `vcgencmd get_throttled`.
    fn bit(self) -> u32 {
        match self {
            Flag::UnderVoltage => 1 << 0,
            Flag::FrequencyCapped => 1 << 1,
            Flag::Throttled => 1 << 2,
            Flag::SoftTemperatureLimit => 1 << 3,
        }
    }
}

impl Zone {
    /// The lowest limit of this kind.
    pub fn limit(&self, kind: LimitKind) -> Option<f64> {
        let limits = self.limits.iter().filter(|limit| limit.kind == kind);
        limits.map(|limit| limit.celsius).min_by(f64::total_cmp)
    }
}

impl LimitKind {
    /// As the kernel's `trip_point_*_type` has it; `None` of one where nothing drastic happens.
    pub fn parse(text: &str) -> Option<LimitKind> {
        match text.trim() {
            "hot" => Some(LimitKind::Hot),
            "critical" => Some(LimitKind::Critical),
            _ => None, // fans, and clocks that give way gently
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Hot => "hot",
            LimitKind::Critical => "critical",
        }
    }
}

/// A temperature as the kernel writes it, in thousandths of a degree; `None` of one that no machine has: firmware
/// leaves 0 or absolute zero in what is not fitted.
pub(super) fn celsius(text: &str) -> Option<f64> {
    let celsius = text.trim().parse::<i64>().ok()? as f64 / 1000.0;
    (COLDEST..=HOTTEST).contains(&celsius).then_some(celsius)
}

/// Where what was stands above what is.
const HALF: u32 = 16;

/// Of what sensors on boards and in chips can tell.
const COLDEST: f64 = -55.0;
const HOTTEST: f64 = 150.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_the_firmware_documents_them() {
        let flags = Flags::parse("50005\n").unwrap();
        let held = |test: fn(Flags, Flag) -> bool| -> Vec<Flag> {
            Flag::ALL.into_iter().filter(|flag| test(flags, *flag)).collect()
        };
        assert_eq!(held(Flags::now), [Flag::UnderVoltage, Flag::Throttled]);
        assert_eq!(held(Flags::recently), [Flag::UnderVoltage, Flag::Throttled]);
        assert_eq!(Flags::parse("0x80008"), Flags::parse("80008"));
        assert!(Flags::parse("80008").unwrap().now(Flag::SoftTemperatureLimit));
        assert!(Flags::parse("e0000").unwrap().recently(Flag::FrequencyCapped));
        assert_eq!((Flags::parse("throttled"), Flags::parse("")), (None, None));
    }

    #[test]
    fn temperatures_that_cannot_be_are_none() {
        assert_eq!(celsius("48312\n"), Some(48.312));
        for nonsense in ["-274000", "", "255000", "warm"] {
            assert_eq!(celsius(nonsense), None, "{nonsense}");
        }
    }
}
