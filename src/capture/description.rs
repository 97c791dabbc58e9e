//! What a capture device is and offers, as data: asked in `device`, chosen from in `mode`.

use std::cmp::Ordering;
use std::fmt;

/// Everything that a device says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Capabilities {
    /// In the driver's order, which is its preference.
    pub formats: Vec<Format>,
    pub controls: Vec<Control>,
    pub signal: Signal,
    /// What it is set to now. Devices that list no sizes give this one.
    pub current: Option<Extent>,
    /// Inputs that it could be switched between; it is left at the one that it is at.
    pub input: Option<String>,
}

/// A pixel format, with the sizes that it is offered in.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    pub fourcc: FourCc,
    /// In the driver's words.
    pub description: String,
    /// Converted from another one by software in the driver's place.
    pub emulated: bool,
    /// Empty where the device lists none.
    pub sizes: Vec<Size>,
}

/// V4L2's name of a pixel format: four characters, such as `YUYV`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

/// One size or a range of them, with the rates that go with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    pub extent: Extents,
    /// Empty where the device lists none.
    pub rates: Vec<Rates>,
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub width: u32,
    pub height: u32,
}

/// Sizes that are offered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extents {
    One(Extent),
    /// From the least to the most, in steps of at least one pixel.
    Stepwise {
        least: Extent,
        most: Extent,
        step: Extent,
    },
}

/// Frame rates that are offered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    One(Rate),
    /// Any from the slowest to the fastest; V4L2's steps are not kept to by any driver that has them.
    Range {
        slowest: Rate,
        fastest: Rate,
    },
}

/// Frames per second as a fraction; neither side is 0. Equal and ordered by its value.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    numerator: u32,
    denominator: u32,
}

/// What can be adjusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// As in the configuration: `white_balance_automatic`.
    pub name: String,
    /// V4L2's number.
    pub id: u32,
    pub kind: ControlKind,
    pub default: i64,
    /// Now; `None` where it cannot be read.
    pub value: Option<i64>,
    pub read_only: bool,
    /// Has no effect while another control is as it is, such as exposure beside automatic exposure.
    pub inactive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ControlKind {
    Integer {
        least: i64,
        most: i64,
        step: u64,
    },
    Boolean,
    /// Numbers with their meanings.
    Menu(Vec<(i64, String)>),
    /// Acts when it is written.
    Button,
    /// A text, a matrix, …: listed, and not set from here.
    Other,
}

/// Whether there is a picture at the input, as far as the device tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// Cameras have their picture themselves.
    Untold,
    Present(Option<Timings>),
    Absent(Trouble),
}

/// The picture on an HDMI or SDI input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timings {
    pub extent: Extent,
    pub rate: Option<Rate>,
    pub interlaced: bool,
}

/// Why there is no picture at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    NoPower,
    NoSignal,
    /// Something comes, but no stable picture.
    NoLock,
    /// A picture that the hardware is not made for.
    OutOfRange,
}

impl FourCc {
    pub fn as_text(&self) -> String {
        // The fourth byte's highest bit says big-endian, and some names end in a space.
        let [a, b, c, d] = self.0;
        let text: String = [a, b, c, d & 0x7f].into_iter().map(char::from).collect();
        let suffix = if d & 0x80 == 0 { "" } else { "-BE" };
        format!("{}{suffix}", text.trim_end())
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_text())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_text(), f)
    }
}

impl Extent {
    pub const fn new(width: u32, height: u32) -> Extent {
        Extent { width, height }
    }

    /// Pixels.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Whether the other fits into it.
    pub const fn covers(self, other: Extent) -> bool {
        self.width >= other.width && self.height >= other.height
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl fmt::Display for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extents::One(extent) => extent.fmt(f),
            Extents::Stepwise { least, most, .. } => write!(f, "{least} to {most}"),
        }
    }
}

impl Rate {
    /// `numerator / denominator` frames per second; `None` where a side is 0.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Rate> {
        if numerator == 0 || denominator == 0 { None } else { Some(Rate { numerator, denominator }) }
    }

    /// Of a frame interval in seconds, which is the inverse.
    pub const fn of_interval(numerator: u32, denominator: u32) -> Option<Rate> {
        Rate::new(denominator, numerator)
    }

    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Frames per second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

impl PartialEq for Rate {
    fn eq(&self, other: &Rate) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rate {}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Rate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rate {
    fn cmp(&self, other: &Rate) -> Ordering {
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        product(self.numerator, other.denominator).cmp(&product(other.numerator, self.denominator))
    }
}

impl fmt::Display for Rate {
    /// `30`, `29.97`, `7.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.as_f64() * 100.0).round() / 100.0)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rates::One(rate) => rate.fmt(f),
            Rates::Range { slowest, fastest } => write!(f, "{slowest} to {fastest}"),
        }
    }
}

impl fmt::Display for Timings {
    /// `1920x1080 59.94/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.extent.fmt(f)?;
        if let Some(rate) = self.rate {
            write!(f, " {rate}/s")?;
        }
        if self.interlaced { f.write_str(" interlaced") } else { Ok(()) }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::NoPower => "no power",
            Trouble::NoSignal => "no signal",
            Trouble::NoLock => "no lock",
            Trouble::OutOfRange => "out of range",
        })
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Untold => f.write_str("not told"),
            Signal::Present(None) => f.write_str("present"),
            Signal::Present(Some(timings)) => timings.fmt(f),
            Signal::Absent(trouble) => trouble.fmt(f),
        }
    }
}

impl Control {
    /// What may be written: `0 to 255`, `0 (Disabled), 1 (50 Hz)`.
    pub fn range(&self) -> String {
        match &self.kind {
            ControlKind::Integer { least, most, step: 0 | 1 } => format!("{least} to {most}"),
            ControlKind::Integer { least, most, step } => format!("{least} to {most} in steps of {step}"),
            ControlKind::Boolean => "0 or 1".to_owned(),
            ControlKind::Menu(items) => {
                let items: Vec<_> = items.iter().map(|(value, name)| format!("{value} ({name})")).collect();
                items.join(", ")
            }
            ControlKind::Button => "1, which presses it".to_owned(),
            ControlKind::Other => "nothing from here".to_owned(),
        }
    }

    /// Whether that may be written.
    pub fn takes(&self, value: i64) -> bool {
        match &self.kind {
            ControlKind::Integer { least, most, step } => {
                let above = i128::from(value) - i128::from(*least);
                above >= 0 && value <= *most && (*step == 0 || above % i128::from(*step) == 0)
            }
            ControlKind::Boolean => value == 0 || value == 1,
            ControlKind::Menu(items) => items.iter().any(|(item, _)| *item == value),
            ControlKind::Button => value == 1,
            ControlKind::Other => false,
        }
    }
}

/// A control's name as the configuration has it, and `v4l2-ctl`: letters and digits, in lower case,
/// and one `_` for all that is between them.
pub(super) fn control_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_equal_by_value() {
        let rate = |n, d| Rate::new(n, d).unwrap();
        assert_eq!(rate(60, 2), rate(30, 1));
        assert!(rate(30000, 1001) < rate(30, 1));
        assert_eq!(Rate::of_interval(1, 30), Rate::new(30, 1));
        assert_eq!(rate(30000, 1001).to_string(), "29.97");
        assert_eq!(rate(15, 2).to_string(), "7.5");
        assert_eq!(Rate::new(0, 1), None);
        assert_eq!(Rate::of_interval(0, 1), None);
    }

    #[test]
    fn names_are_as_people_write_them() {
        assert_eq!(FourCc(*b"YUYV").to_string(), "YUYV");
        assert_eq!(FourCc(*b"Y16 ").to_string(), "Y16");
        assert_eq!(FourCc([b'Y', b'1', b'6', b' ' | 0x80]).to_string(), "Y16-BE");
        assert_eq!(control_name("White Balance, Automatic"), "white_balance_automatic");
        assert_eq!(control_name("Limited RGB Range (16-235)"), "limited_rgb_range_16_235");
    }

    #[test]
    fn a_control_takes_what_its_range_says() {
        let control = |kind| Control {
            name: "it".to_owned(),
            id: 1,
            kind,
            default: 0,
            value: None,
            read_only: false,
            inactive: false,
        };
        let steps = control(ControlKind::Integer { least: -10, most: 10, step: 5 });
        assert!(
            steps.takes(-10) && steps.takes(5) && !steps.takes(6) && !steps.takes(15) && !steps.takes(-15)
        );
        assert_eq!(steps.range(), "-10 to 10 in steps of 5");
        let whole = control(ControlKind::Integer { least: i64::MIN, most: i64::MAX, step: 1 });
        assert!(whole.takes(i64::MIN) && whole.takes(1) && whole.takes(i64::MAX));
        let menu = control(ControlKind::Menu(vec![(0, "Disabled".to_owned()), (2, "60 Hz".to_owned())]));
        assert!(menu.takes(2) && !menu.takes(1));
        assert_eq!(menu.range(), "0 (Disabled), 2 (60 Hz)");
        assert!(control(ControlKind::Boolean).takes(1) && !control(ControlKind::Boolean).takes(2));
        assert!(!control(ControlKind::Other).takes(0));
    }
}
