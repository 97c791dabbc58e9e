//! A link in one line: what `--link` takes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::Link;
use super::cubic::{Upload, Uploads};
use super::loss::Loss;
use super::trace::Trace;
use crate::units::{Bitrate, ByteCount};

/// A link between a sender and a receiver, such as
/// `rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=1,at=40s:rate=1500k,outage=30s+3s`.
///
/// | part | means | left out |
/// |---|---|---|
/// | `rate=6500k` | capacity of the uplink, `k` or `M` bit/s, IP and UDP headers included | unlimited |
/// | `at=40s:rate=1500k` | another capacity from that time on; may be given again | |
/// | `queue=375000` | bytes the uplink's drop-tail queue holds | 375000 |
/// | `delay=25ms` | one way, in each direction | none |
/// | `jitter=10ms` | uniform extra delay, in each direction | none |
/// | `reorder=yes` | jitter may change the order of packets | no |
/// | `loss=0.02` | uplink, behind the queue | none |
/// | `loss=ge:0.004:0.15:0.0005:0.5` | bursts: P(good→bad), P(bad→good), loss in good, loss in bad | |
/// | `loss-down=0.02` | the same for the downlink | none |
/// | `outage=30s+3s` | from 30 s on nothing passes for 3 s; may be given again | |
/// | `cross=cubic@10s+30s` | somebody else's TCP upload shares the uplink from 10 s on for 30 s; may be given again | |
/// | `seed=1` | of loss and jitter: the same seed, the same link | 1 |
///
/// An outage stops service in both directions: what a limited uplink's queue has room for waits
/// there, as in a modem that has lost its cell; everything else is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Uplink capacity at the start; `None` is unlimited.
    pub rate: Option<Bitrate>,
    pub rate_changes: Vec<RateChange>,
    pub queue: ByteCount,
    /// One way, in each direction.
    pub delay: Duration,
    pub jitter: Duration,
    pub reorder: bool,
    pub loss: Loss,
    pub loss_down: Loss,
    pub outages: Vec<Outage>,
    /// Whom the uplink is shared with.
    pub cross: Vec<Cross>,
    pub seed: u64,
    /// Recorded uplink capacity, in place of `rate` and `rate_changes`. Has no spelling in the line.
    pub trace: Option<Trace>,
}

/// From `at` on the uplink's capacity is `rate`, which is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateChange {
    pub at: Duration,
    pub rate: Bitrate,
}

/// Nothing is served from `start` on, for `duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub start: Duration,
    pub duration: Duration,
}

/// One TCP upload with CUBIC over the same uplink, from `start` on, for `duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cross {
    pub start: Duration,
    pub duration: Duration,
}

/// A part of the line that cannot be read, and what to write.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("link: {part:?}: {problem}; write {fix}")]
pub struct SpecError {
    pub part: String,
    pub problem: String,
    pub fix: String,
}

impl Spec {
    /// With the uplink's capacity taken from `trace`.
    pub fn with_trace(self, trace: Trace) -> Self {
        Spec { trace: Some(trace), ..self }
    }

    /// The direction from the sender to the receiver: all of the link's properties.
    pub fn uplink(&self) -> Link {
        Link::uplink(self)
    }

    /// The direction back: its delay, jitter, outages and own loss, without a limit of rate.
    pub fn downlink(&self) -> Link {
        Link::downlink(self)
    }

    /// Whom the uplink is shared with, each to be driven along with it.
    pub fn uploads(&self) -> Uploads {
        Uploads::new(self.cross.iter().map(|cross| Upload::new(*cross, self.delay)))
    }
}

impl Default for Spec {
    /// A perfect link: no limit, no delay, no loss.
    fn default() -> Self {
        Spec {
            rate: None,
            rate_changes: Vec::new(),
            queue: DEFAULT_QUEUE,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: false,
            loss: Loss::None,
            loss_down: Loss::None,
            outages: Vec::new(),
            cross: Vec::new(),
            seed: DEFAULT_SEED,
            trace: None,
        }
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(line: &str) -> Result<Self, SpecError> {
        let mut spec = Spec::default();
        let mut seen: Vec<&str> = Vec::new();
        for part in line.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let complaint = |(problem, fix): Complaint| SpecError { part: part.to_owned(), problem, fix };
            let (key, value) =
                part.split_once('=').ok_or_else(|| complaint(wrong("it has no value", "KEY=VALUE")))?;
            if seen.contains(&key) && !REPEATABLE.contains(&key) {
                return Err(complaint(wrong("it is given twice", "it once")));
            }
            seen.push(key);
            read(&mut spec, key, value).map_err(complaint)?;
        }
        spec.rate_changes.sort_by_key(|change| change.at);
        spec.outages.sort_by_key(|outage| outage.start);
        spec.cross.sort_by_key(|cross| cross.start);
        Ok(spec)
    }
}

impl fmt::Display for Spec {
    /// The line that reads back as this link (without its trace).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(rate) = self.rate {
            parts.push(format!("rate={}", Rate(rate)));
        }
        if self.delay > Duration::ZERO {
            parts.push(format!("delay={}", Time(self.delay)));
        }
        if self.queue != DEFAULT_QUEUE {
            parts.push(format!("queue={}", self.queue.get()));
        }
        for (key, loss) in [("loss", self.loss), ("loss-down", self.loss_down)] {
            match loss {
                Loss::None => {}
                Loss::Random { probability } => parts.push(format!("{key}={probability}")),
                Loss::Bursts { good_to_bad, bad_to_good, in_good, in_bad } => {
                    parts.push(format!("{key}=ge:{good_to_bad}:{bad_to_good}:{in_good}:{in_bad}"));
                }
            }
        }
        if self.jitter > Duration::ZERO {
            parts.push(format!("jitter={}", Time(self.jitter)));
        }
        if self.reorder {
            parts.push("reorder=yes".to_owned());
        }
        if self.seed != DEFAULT_SEED {
            parts.push(format!("seed={}", self.seed));
        }
        for change in &self.rate_changes {
            parts.push(format!("at={}:rate={}", Time(change.at), Rate(change.rate)));
        }
        for outage in &self.outages {
            parts.push(format!("outage={}+{}", Time(outage.start), Time(outage.duration)));
        }
        for cross in &self.cross {
            parts.push(format!("cross=cubic@{}+{}", Time(cross.start), Time(cross.duration)));
        }
        f.write_str(&parts.join(","))
    }
}

/// What is wrong, and what to write.
pub(crate) type Complaint = (String, String);

fn wrong(problem: &str, fix: &str) -> Complaint {
    (problem.to_owned(), fix.to_owned())
}

fn read(spec: &mut Spec, key: &str, value: &str) -> Result<(), Complaint> {
    match key {
        "rate" => spec.rate = Some(rate(value)?),
        "at" => {
            let (at, rate) = rate_change(value)?;
            if spec.rate_changes.iter().any(|change| change.at == at) {
                return Err(wrong("this time has a change already", "one rate for each time"));
            }
            spec.rate_changes.push(RateChange { at, rate });
        }
        "queue" => spec.queue = queue(value)?,
        "delay" => spec.delay = time(value)?,
        "jitter" => spec.jitter = time(value)?,
        "reorder" => {
            spec.reorder = match value {
                "yes" => true,
                "no" => false,
                _ => return Err(wrong("it is a choice", "reorder=yes or reorder=no")),
            }
        }
        "loss" => spec.loss = loss(value)?,
        "loss-down" => spec.loss_down = loss(value)?,
        "outage" => {
            let (start, duration) = span(value, "outage=START+DURATION, such as outage=30s+3s")?;
            spec.outages.push(Outage { start, duration });
        }
        "cross" => {
            let fix = "cross=cubic@START+DURATION, such as cross=cubic@10s+30s";
            let times = value
                .strip_prefix("cubic@")
                .ok_or_else(|| wrong("only a TCP upload with CUBIC can be beside the stream", fix))?;
            let (start, duration) = span(times, fix)?;
            spec.cross.push(Cross { start, duration });
        }
        "seed" => {
            spec.seed =
                value.parse().map_err(|_| wrong("it is not a whole number", "one, such as seed=1"))?;
        }
        _ => {
            let nearest = KEYS.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
            return Err(match nearest {
                Some((0..=2, known)) => ("no such part".to_owned(), format!("{known}=")),
                _ => ("no such part".to_owned(), format!("one of {}", KEYS.join(", "))),
            });
        }
    }
    Ok(())
}

/// `6500k`, `6.5M`: above zero, in whole bit/s.
pub(crate) fn rate(text: &str) -> Result<Bitrate, Complaint> {
    let example = "a number with k or M, such as 6500k or 6.5M (bit/s)";
    let number = |digits: &str, scale: f64| match digits.parse::<f64>() {
        Ok(number) if number * scale >= 1.0 && number * scale <= MAX_RATE_BPS => {
            Ok(Bitrate::from_bps((number * scale).round() as u64))
        }
        Ok(0.0) => Err(wrong("a rate of zero never lets a packet through", "outage=START+DURATION for that")),
        Ok(_) => Err(wrong("the rate is out of range", "a rate from 1 bit/s to 1000000M")),
        Err(_) => Err(wrong("the rate is not a number", example)),
    };
    if let Some(digits) = text.strip_suffix('k') {
        number(digits, 1e3)
    } else if let Some(digits) = text.strip_suffix('M') {
        number(digits, 1e6)
    } else {
        Err(wrong("the rate has no unit", example))
    }
}

/// `40s:rate=1500k`.
fn rate_change(text: &str) -> Result<(Duration, Bitrate), Complaint> {
    let (at, change) =
        text.split_once(':').ok_or_else(|| wrong("the change is missing", "at=TIME:rate=RATE"))?;
    let new_rate = change
        .strip_prefix("rate=")
        .ok_or_else(|| wrong("only the rate can change at a time", "at=TIME:rate=RATE"))?;
    Ok((time(at)?, rate(new_rate)?))
}

fn queue(text: &str) -> Result<ByteCount, Complaint> {
    match text.parse() {
        Ok(bytes) if bytes >= SMALLEST_QUEUE => Ok(ByteCount::new(bytes)),
        Ok(_) => Err(("not even one packet fits into it".into(), format!("at least queue={SMALLEST_QUEUE}"))),
        Err(_) => Err(wrong("it is not a whole number of bytes", "one, such as queue=375000")),
    }
}

/// `25ms`, `3s`, `250us`: in whole microseconds.
pub(crate) fn time(text: &str) -> Result<Duration, Complaint> {
    let example = "a number with us, ms or s, such as 25ms or 1.5s";
    // "ms" and "us" end in "s" too, so seconds come last.
    let (digits, scale) = [("us", 1.0), ("ms", 1e3), ("s", 1e6)]
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|digits| (digits, scale)))
        .ok_or_else(|| wrong("the time has no unit", example))?;
    match digits.parse::<f64>() {
        Ok(number) if (0.0..=MAX_TIME_US).contains(&(number * scale)) => {
            Ok(Duration::from_micros((number * scale).round() as u64))
        }
        Ok(_) => Err(wrong("the time is out of range", "a time from 0s to 31536000s")),
        Err(_) => Err(wrong("the time is not a number", example)),
    }
}

/// `0.02`, or `ge:0.004:0.15:0.0005:0.5`.
fn loss(text: &str) -> Result<Loss, Complaint> {
    let Some(bursts) = text.strip_prefix("ge:") else {
        return Ok(match probability(text)? {
            0.0 => Loss::None,
            probability => Loss::Random { probability },
        });
    };
    let values: Vec<f64> = bursts.split(':').map(probability).collect::<Result<_, _>>()?;
    match values[..] {
        [good_to_bad, bad_to_good, in_good, in_bad] => {
            Ok(Loss::Bursts { good_to_bad, bad_to_good, in_good, in_bad })
        }
        _ => Err(wrong(
            "bursts have four probabilities",
            "ge: and good→bad, bad→good, loss in good, loss in bad, such as ge:0.004:0.15:0.0005:0.5",
        )),
    }
}

fn probability(text: &str) -> Result<f64, Complaint> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        Ok(_) => Err(wrong("a probability lies between 0 and 1", "one, such as 0.02 for two in a hundred")),
        Err(_) => Err(wrong("a probability is a number", "one from 0 to 1, such as 0.02")),
    }
}

/// `30s+3s`: when it starts, and how long it lasts.
fn span(text: &str, fix: &str) -> Result<(Duration, Duration), Complaint> {
    let (start, duration) = text.split_once('+').ok_or_else(|| wrong("its duration is missing", fix))?;
    let (start, duration) = (time(start)?, time(duration)?);
    match duration {
        Duration::ZERO => Err(wrong("it lasts no time", "a duration above zero, or leave it out")),
        duration => Ok((start, duration)),
    }
}

/// A rate in the spelling of the line, exact to a bit/s.
struct Rate(Bitrate);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_kbps(), self.0.as_bps() % 1000) {
            (kbps, 0) => write!(f, "{kbps}k"),
            (kbps, bps) => write!(f, "{kbps}.{bps:03}k"),
        }
    }
}

/// A time in the spelling of the line, in the largest unit that is exact.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_micros() {
            us if us % 1_000_000 == 0 => write!(f, "{}s", us / 1_000_000),
            us if us % 1000 == 0 => write!(f, "{}ms", us / 1000),
            us => write!(f, "{us}us"),
        }
    }
}

const KEYS: [&str; 11] =
    ["rate", "at", "queue", "delay", "jitter", "reorder", "loss", "loss-down", "outage", "cross", "seed"];
const REPEATABLE: [&str; 3] = ["at", "outage", "cross"];
/// Bytes, 0.46 s at 6.5 Mbit/s: what published traces of cellular modems were replayed with.
const DEFAULT_QUEUE: ByteCount = ByteCount::new(375_000);
/// Bytes: an Ethernet packet.
const SMALLEST_QUEUE: u64 = 1500;
const DEFAULT_SEED: u64 = 1;
/// Bit/s: keeps a product of rate and nanoseconds of one packet's service within 64 bits.
const MAX_RATE_BPS: f64 = 1e12;
/// Microseconds: a year.
const MAX_TIME_US: f64 = 31_536_000.0 * 1e6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_part() {
        let line = "rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=7,\
                    at=80s:rate=6.5M,at=40s:rate=1500k,outage=30s+3s,cross=cubic@10s+30s,loss-down=ge:0.004:0.15:0.0005:0.5,reorder=yes";
        let change = |s, kbps| RateChange { at: Duration::from_secs(s), rate: Bitrate::from_kbps(kbps) };
        let expected = Spec {
            rate: Some(Bitrate::from_kbps(6500)),
            rate_changes: vec![change(40, 1500), change(80, 6500)],
            queue: ByteCount::new(375_000),
            delay: Duration::from_millis(25),
            jitter: Duration::from_millis(10),
            reorder: true,
            loss: Loss::Random { probability: 0.02 },
            loss_down: Loss::Bursts { good_to_bad: 0.004, bad_to_good: 0.15, in_good: 0.0005, in_bad: 0.5 },
            outages: vec![Outage { start: Duration::from_secs(30), duration: Duration::from_secs(3) }],
            cross: vec![Cross { start: Duration::from_secs(10), duration: Duration::from_secs(30) }],
            seed: 7,
            trace: None,
        };
        assert_eq!(line.parse::<Spec>().unwrap(), expected);
    }

    #[test]
    fn nothing_is_a_perfect_link() {
        assert_eq!("".parse::<Spec>().unwrap(), Spec::default());
        assert_eq!(Spec::default().to_string(), "");
    }

    #[test]
    fn says_what_is_wrong_and_what_to_write() {
        let message = |line: &str| line.parse::<Spec>().unwrap_err().to_string();
        assert_eq!(
            message("delay=25ms,rate=6500"),
            "link: \"rate=6500\": the rate has no unit; \
             write a number with k or M, such as 6500k or 6.5M (bit/s)"
        );
        assert_eq!(
            message("latency=3"),
            "link: \"latency=3\": no such part; write one of rate, at, queue, delay, jitter, reorder, loss, loss-down, outage, cross, seed"
        );
        assert_eq!(message("dely=3ms"), "link: \"dely=3ms\": no such part; write delay=");
        for (line, part, problem) in [
            ("loss", "loss", "it has no value"),
            ("seed=1,seed=2", "seed=2", "it is given twice"),
            ("rate=0k", "rate=0k", "a rate of zero never lets a packet through"),
            ("rate=-5k", "rate=-5k", "the rate is out of range"),
            ("rate=fastk", "rate=fastk", "the rate is not a number"),
            ("rate=NaNk", "rate=NaNk", "the rate is out of range"),
            ("delay=25", "delay=25", "the time has no unit"),
            ("delay=-1ms", "delay=-1ms", "the time is out of range"),
            ("delay=xs", "delay=xs", "the time is not a number"),
            ("queue=10", "queue=10", "not even one packet fits into it"),
            ("queue=1.5", "queue=1.5", "it is not a whole number of bytes"),
            ("loss=2", "loss=2", "a probability lies between 0 and 1"),
            ("loss=2%", "loss=2%", "a probability is a number"),
            ("loss=ge:0.1:0.2", "loss=ge:0.1:0.2", "bursts have four probabilities"),
            ("at=40s", "at=40s", "the change is missing"),
            ("at=40s:delay=3ms", "at=40s:delay=3ms", "only the rate can change at a time"),
            ("at=4s:rate=1k,at=4s:rate=2k", "at=4s:rate=2k", "this time has a change already"),
            ("outage=3s", "outage=3s", "its duration is missing"),
            ("outage=3s+0s", "outage=3s+0s", "it lasts no time"),
            ("cross=reno@3s+1s", "cross=reno@3s+1s", "only a TCP upload with CUBIC can be beside the stream"),
            ("cross=cubic@3s", "cross=cubic@3s", "its duration is missing"),
            ("cross=cubic@3s+0s", "cross=cubic@3s+0s", "it lasts no time"),
            ("reorder=1", "reorder=1", "it is a choice"),
            ("seed=-1", "seed=-1", "it is not a whole number"),
        ] {
            let error = line.parse::<Spec>().unwrap_err();
            assert_eq!((error.part.as_str(), error.problem.as_str()), (part, problem), "{line}");
        }
    }

    fn any_loss() -> impl Strategy<Value = Loss> {
        let p = || (0_u32..=10_000).prop_map(|n| f64::from(n) / 10_000.0);
        prop_oneof![
            Just(Loss::None),
            (1_u32..=10_000).prop_map(|n| Loss::Random { probability: f64::from(n) / 10_000.0 }),
            (p(), p(), p(), p()).prop_map(|(good_to_bad, bad_to_good, in_good, in_bad)| Loss::Bursts {
                good_to_bad,
                bad_to_good,
                in_good,
                in_bad
            }),
        ]
    }

    prop_compose! {
        fn any_spec()(
            rate in proptest::option::of(1_u64..1_000_000_000),
            changes in proptest::collection::btree_map(0_u64..1_000_000_000, 1_u64..1_000_000_000, 0..4),
            queue in SMALLEST_QUEUE..10_000_000,
            (delay, jitter) in (0_u64..5_000_000, 0_u64..5_000_000),
            reorder: bool,
            loss in any_loss(),
            loss_down in any_loss(),
            outages in proptest::collection::btree_map(0_u64..1_000_000_000, 1_u64..1_000_000_000, 0..4),
            cross in proptest::collection::btree_map(0_u64..1_000_000_000, 1_u64..1_000_000_000, 0..3),
            seed: u64,
        ) -> Spec {
            let us = Duration::from_micros;
            Spec {
                rate: rate.map(Bitrate::from_bps),
                rate_changes: changes.into_iter()
                    .map(|(at, rate)| RateChange { at: us(at), rate: Bitrate::from_bps(rate) }).collect(),
                queue: ByteCount::new(queue),
                delay: us(delay), jitter: us(jitter), reorder, loss, loss_down,
                outages: outages.into_iter()
                    .map(|(start, length)| Outage { start: us(start), duration: us(length) }).collect(),
                cross: cross.into_iter()
                    .map(|(start, length)| Cross { start: us(start), duration: us(length) }).collect(),
                seed,
                trace: None,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(spec in any_spec()) {
            prop_assert_eq!(spec.to_string().parse::<Spec>(), Ok(spec));
        }

        #[test]
        fn no_line_panics(line in "[a-z0-9=:.,+kM-]{0,40}") {
            // Whatever parses, parses again to the same link.
            if let Ok(spec) = line.parse::<Spec>() {
                prop_assert_eq!(spec.to_string().parse::<Spec>(), Ok(spec));
            }
        }
    }
}
