//! From a value of the document to one of Rust, or to a complaint that shows the right spelling.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::super::Word;
use super::report::Complaint;
use super::suggest;
use crate::units::Bitrate;

/// A value of the document with its key.
pub(super) struct Value<'a> {
    pub key: &'static str,
    pub contents: &'a DeValue<'a>,
}

/// Any text.
pub(super) fn text<'a>(value: &Value<'a>) -> Result<&'a str, Complaint> {
    match value.contents {
        DeValue::String(text) => Ok(text.as_ref()),
        other => Err(Complaint::new(
            format!("is {}, not a text", kind(other)),
            format!("write {} = \"…\", in quotes", value.key),
        )),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Complaint> {
    let key = value.key;
    match value.contents {
        DeValue::Boolean(truth) => Ok(*truth),
        DeValue::String(text) if text == "true" || text == "false" => Err(Complaint::new(
            "is a text, not true or false",
            format!("write {key} = {text}, without quotes"),
        )),
        other => Err(Complaint::new(
            format!("is {}, not true or false", kind(other)),
            format!("write {key} = true or {key} = false"),
        )),
    }
}

/// A whole number in `range`.
pub(super) fn integer(value: &Value<'_>, range: RangeInclusive<i64>) -> Result<i64, Complaint> {
    let key = value.key;
    let (lowest, highest) = (range.start(), range.end());
    let unit = unit(key).map(|unit| format!(" {}", unit.name)).unwrap_or_default();
    let within = format!("write a whole number from {lowest} to {highest}");
    let DeValue::Integer(digits) = value.contents else {
        let fix = same_in_unit(key, key, value.contents)
            .filter(|number| range.contains(number))
            .map_or(within, |number| format!("write {key} = {number}"));
        let message = format!("is {}, not a whole number", kind(value.contents));
        return Err(Complaint::new(message, fix));
    };
    match i64::from_str_radix(digits.as_str(), digits.radix()) {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(number) => {
            let message = format!("is {number}, not within {lowest} to {highest}{unit}");
            Err(Complaint::new(message, other_unit(key, number, &range).unwrap_or(within)))
        }
        Err(_) => Err(Complaint::new(format!("is far outside {lowest} to {highest}{unit}"), within)),
    }
}

/// Kilobits per second.
pub(super) fn kbps(value: &Value<'_>, range: RangeInclusive<i64>) -> Result<Bitrate, Complaint> {
    integer(value, range).map(|kbps| Bitrate::from_kbps(kbps.unsigned_abs()))
}

/// Milliseconds.
pub(super) fn milliseconds(value: &Value<'_>, range: RangeInclusive<i64>) -> Result<Duration, Complaint> {
    integer(value, range).map(|ms| Duration::from_millis(ms.unsigned_abs()))
}

/// Seconds.
pub(super) fn seconds(value: &Value<'_>, range: RangeInclusive<i64>) -> Result<Duration, Complaint> {
    integer(value, range).map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
}

/// Decibels, with or without a point.
pub(super) fn decibels(value: &Value<'_>, range: RangeInclusive<f64>) -> Result<f64, Complaint> {
    let (key, lowest, highest) = (value.key, range.start(), range.end());
    let within = format!("write a number from {lowest} to {highest}");
    let number = match value.contents {
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map(|number| number as f64) // beyond 2⁵³ it is out of range in any case
            .map_err(|_| Complaint::new(format!("is far outside {lowest} to {highest} decibels"), &within))?,
        DeValue::Float(digits) => {
            digits.as_str().parse().map_err(|_| Complaint::new("is no number", &within))?
        }
        other => {
            let written = if let DeValue::String(text) = other { text.as_ref() } else { "" };
            let number = written.trim_end_matches(|c: char| c.is_alphabetic() || c == ' ').parse();
            let fix = match number {
                Ok(number) if range.contains(&number) => format!("write {key} = {number}"),
                Ok(_) | Err(_) => within,
            };
            return Err(Complaint::new(format!("is {}, not a number", kind(other)), fix));
        }
    };
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(Complaint::new(format!("is {number}, not within {lowest} to {highest} decibels"), within))
    }
}

/// One word of a closed set.
pub(super) fn word<T: Word>(value: &Value<'_>) -> Result<T, Complaint> {
    choice(value, T::WORDS.iter().map(|(word, meaning)| (*word, *meaning)))
}

/// One of a few words, each with its meaning.
pub(super) fn choice<T>(
    value: &Value<'_>,
    words: impl Iterator<Item = (&'static str, T)>,
) -> Result<T, Complaint> {
    let mut words: Vec<_> = words.collect();
    let key = value.key;
    let offered: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    let offered = offered.join(", ");
    let DeValue::String(written) = value.contents else {
        let message = format!("is {}, not a text", kind(value.contents));
        return Err(Complaint::new(message, format!("write one of {offered}")));
    };
    if let Some(index) = words.iter().position(|(word, _)| word == written) {
        return Ok(words.swap_remove(index).1);
    }
    let fix = match suggest::closest(written, words.iter().map(|(word, _)| *word)) {
        Some(meant) => format!("did you mean {key} = {meant:?}? All are {offered}"),
        None => format!("write one of {offered}"),
    };
    Err(Complaint::new(format!("{} is not one of its values", shown(written)), fix))
}

/// A path from the root on: a daemon has no folder of its own that others would be relative to.
pub(super) fn path(value: &Value<'_>) -> Result<PathBuf, Complaint> {
    let path = text(value)?;
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path.into());
    }
    let message = if path.is_empty() { "is empty" } else { "is not a whole path" };
    Err(Complaint::new(message, format!("write {} = \"/…\", the whole path from / on", value.key)))
}

/// A text as it may stand in a message: whole where it is short, never with line breaks, and never
/// where it looks as if somebody had put an address with a password there.
pub(super) fn shown(text: &str) -> String {
    let short = text.chars().count() <= LONGEST_SHOWN;
    let plain = !text.contains(['@', '?']) && !text.to_lowercase().contains("pass");
    if short && plain { format!("{text:?}") } else { "this text".into() }
}

/// What a value is, as a person would say.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The unit that a key carries in its name.
pub(super) struct Unit {
    suffix: &'static str,
    pub name: &'static str,
    /// Each spelling of a quantity in this dimension, and how many of the unit it is.
    spellings: &'static [(&'static str, f64)],
}

/// The unit in the name of `key`.
pub(super) fn unit(key: &str) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| key.ends_with(unit.suffix))
}

/// `key` without any unit, so that `latency`, `latency_s` and `latency_ms` are the same.
pub(super) fn stem(key: &str) -> &str {
    FOREIGN_SUFFIXES.iter().find_map(|suffix| key.strip_suffix(suffix)).unwrap_or(key)
}

/// What was written at `unknown`, as a number in the unit of `key`; only where its unit is certain.
pub(super) fn same_in_unit(key: &str, unknown: &str, value: &DeValue<'_>) -> Option<i64> {
    let suffix = FOREIGN_SUFFIXES.iter().find(|suffix| unknown.ends_with(**suffix));
    match value {
        DeValue::String(text) => quantity(key, text),
        DeValue::Integer(number) => {
            let spelled = format!("{}{}", number.as_str(), suffix?.trim_start_matches('_'));
            quantity(key, &spelled)
        }
        DeValue::Float(number) if unit(key).is_none() || suffix.is_some() => {
            let suffix = suffix.map_or("", |suffix| suffix.trim_start_matches('_'));
            quantity(key, &format!("{}{suffix}", number.as_str()))
        }
        _ => None,
    }
}

/// How to write at `key` the value of a line such as `latency_ms = 2s`, which is not TOML.
pub(super) fn quantity_fix(key: &str, written: &str) -> Option<String> {
    unit(key)?;
    let written = written.split('#').next().unwrap_or_default().trim();
    quantity(key, written).map(|number| format!("write {key} = {number}"))
}

/// A number with or without a unit behind it, as a number in the unit of `key`.
fn quantity(key: &str, written: &str) -> Option<i64> {
    let written = written.trim();
    let digits_end = written.find(|c: char| !c.is_ascii_digit() && !"+-._".contains(c));
    let (number, spelling) = written.split_at(digits_end.unwrap_or(written.len()));
    let number: f64 = number.replace('_', "").parse().ok()?;
    let factor = match (spelling.trim().to_lowercase().as_str(), unit(key)) {
        ("", _) => 1.0,
        (spelling, Some(unit)) => unit.spellings.iter().find(|(known, _)| *known == spelling)?.1,
        (_, None) => return None,
    };
    let number = (number * factor).round();
    (number.abs() <= LARGEST_EXACT).then_some(number as i64)
}

/// A number out of range that would be in range in the neighbouring unit.
fn other_unit(key: &str, number: i64, range: &RangeInclusive<i64>) -> Option<String> {
    let unit = unit(key)?;
    let (meant, name) = match (unit.suffix, number < *range.start()) {
        ("_ms", true) => (number.checked_mul(1000)?, "s"),
        ("_kbps", true) => (number.checked_mul(1000)?, "Mbit/s"),
        ("_kbps", false) => (number / 1000, "bit/s"),
        _ => return None,
    };
    (number > 0 && range.contains(&meant))
        .then(|| format!("write {key} = {meant} if {number} {name} is meant"))
}

/// Characters. Longer texts are no slips of the pen, and would hide the message.
const LONGEST_SHOWN: usize = 60;

/// Beyond 2⁵³, a float has gaps between whole numbers.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

const UNITS: [Unit; 3] = [
    Unit {
        suffix: "_ms",
        name: "milliseconds",
        spellings: &[
            ("us", 0.001),
            ("µs", 0.001),
            ("ms", 1.0),
            ("msec", 1.0),
            ("milliseconds", 1.0),
            ("s", 1000.0),
            ("sec", 1000.0),
            ("second", 1000.0),
            ("seconds", 1000.0),
            ("min", 60_000.0),
        ],
    },
    Unit {
        suffix: "_s",
        name: "seconds",
        spellings: &[
            ("ms", 0.001),
            ("s", 1.0),
            ("sec", 1.0),
            ("second", 1.0),
            ("seconds", 1.0),
            ("min", 60.0),
            ("minutes", 60.0),
            ("h", 3600.0),
        ],
    },
    Unit {
        suffix: "_kbps",
        name: "kbit/s",
        spellings: &[
            ("bps", 0.001),
            ("bit/s", 0.001),
            ("k", 1.0),
            ("kbps", 1.0),
            ("kbit", 1.0),
            ("kbit/s", 1.0),
            ("kb/s", 1.0),
            ("m", 1000.0),
            ("mbps", 1000.0),
            ("mbit", 1000.0),
            ("mbit/s", 1000.0),
        ],
    },
];

/// Endings of a key that name a unit: ours, and those that people try.
const FOREIGN_SUFFIXES: [&str; 10] =
    ["_ms", "_msec", "_us", "_sec", "_seconds", "_s", "_kbps", "_mbps", "_bps", "_db"];
