//! What a fake does otherwise than a well-behaved encoder, and its form as text.

use std::time::Duration;

/// Everything that a fake does beyond its model's own habits. Each encoder keeps the quirks that it was made
/// with, but for those that are armed later ([`super::Pretence::arm`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quirks {
    /// Each bitrate that is set, even an equal one, makes the next picture a key frame: as VA-API does.
    pub key_frame_each_change: bool,
    /// A bitrate that is set takes effect so much later. Of several, each does.
    pub follows_after: Duration,
    /// It gives so much more than it is told: 1.3 is 30 %, 0.5 is half.
    pub excess: f64,
    /// From when on [`excess`](Self::excess) holds: from the next bitrate that is set then.
    pub excess_from: When,
    /// From when on bitrates that are set while it runs have no effect.
    pub ignores_bitrate: Option<When>,
    /// What it does with a key frame that is asked for by event.
    pub force_key: ForceKey,
    /// Where it never returns.
    pub hangs_at: Option<Stage>,
    /// Where it takes the process along, by a segmentation fault.
    pub crashes_at: Option<Stage>,
    /// Each picture takes so long, whatever the coding itself takes.
    pub takes: Duration,
    /// From when on [`takes`](Self::takes) holds.
    pub takes_from: When,
    /// Pictures go in and nothing comes out.
    pub stalls: Option<When>,
    /// The call that brings a picture never returns.
    pub blocks: Option<When>,
    /// An element error is posted, and the picture is answered with one.
    pub fails: Option<When>,
    /// The data of slices is garbled.
    pub corrupts: Option<When>,
    /// Every second picture that is not a key frame does not come out.
    pub loses: Option<When>,
}

/// When a fault begins: each counts from the encoder's own first picture, so that a short probe passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// After so many pictures: 0 is from the first on.
    After(u64),
    /// So long after the first picture.
    At(Duration),
}

/// Where in its life an encoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In the factory: `ElementFactory::create` does not return.
    Creation,
    /// From NULL to READY, where the device is opened.
    Ready,
    FirstPicture,
    /// From PAUSED to READY, where the device is told to stop.
    Stop,
}

/// What is done with a force-key-unit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForceKey {
    /// As the real element of the installed version of GStreamer.
    AsReal,
    Obeyed,
    Ignored,
}

impl Quirks {
    pub const NONE: Quirks = Quirks {
        key_frame_each_change: false,
        follows_after: Duration::ZERO,
        excess: 1.0,
        excess_from: When::ALWAYS,
        ignores_bitrate: None,
        force_key: ForceKey::AsReal,
        hangs_at: None,
        crashes_at: None,
        takes: Duration::ZERO,
        takes_from: When::ALWAYS,
        stalls: None,
        blocks: None,
        fails: None,
        corrupts: None,
        loses: None,
    };
}

impl When {
    pub const ALWAYS: When = When::After(0);

    /// Whether it has come, after `pictures` before this one and `elapsed` since the first.
    pub fn has_come(self, pictures: u64, elapsed: Duration) -> bool {
        match self {
            When::After(count) => pictures >= count,
            When::At(at) => elapsed >= at,
        }
    }
}

/// `vah264enc:stall_after=120;v4l2h264enc:ignore_bitrate,excess=1.3` as elements with their quirks, in order.
///
/// Knobs, with commas between them: `idr` (a key frame at each change), `follows_after=1s`, `excess=1.3`,
/// `slow=40ms`, `ignore_bitrate`, `stall`, `block`, `error`, `corrupt`, `lose`, `hang=creation|ready|first|stop`,
/// `crash=creation|ready|first|stop`, `force_key=obeyed|ignored`. Each of `excess`, `slow`, `ignore_bitrate`,
/// `stall`, `block`, `error`, `corrupt` and `lose` also exists with `_after=120` (pictures) and `_at=8s` (since
/// the encoder's first picture). An empty text and `none` name no element.
pub fn parse(text: &str) -> Result<Vec<(String, Quirks)>, String> {
    let text = text.trim();
    if text.is_empty() || text == "none" {
        return Ok(Vec::new());
    }
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(parse_element).collect()
}

fn parse_element(part: &str) -> Result<(String, Quirks), String> {
    let (element, knobs) = part.split_once(':').unwrap_or((part, ""));
    let mut quirks = Quirks::NONE;
    for knob in knobs.split(',').map(str::trim).filter(|knob| !knob.is_empty()) {
        set(&mut quirks, knob).map_err(|reason| format!("{part}: {knob}: {reason}"))?;
    }
    Ok((element.trim().to_owned(), quirks))
}

fn set(quirks: &mut Quirks, knob: &str) -> Result<(), String> {
    let (name, value) = knob.split_once('=').unwrap_or((knob, ""));
    let (name, when) = if let Some(name) = name.strip_suffix("_at") {
        (name, Some(When::At(duration(value)?)))
    } else if let Some(name) = name.strip_suffix("_after").filter(|name| *name != "follows") {
        (name, Some(When::After(value.parse().map_err(|error| format!("{error}"))?)))
    } else {
        (name, None)
    };
    let begins = Some(when.unwrap_or(When::ALWAYS));
    match (name, when) {
        ("stall", _) => quirks.stalls = begins,
        ("block", _) => quirks.blocks = begins,
        ("error", _) => quirks.fails = begins,
        ("corrupt", _) => quirks.corrupts = begins,
        ("lose", _) => quirks.loses = begins,
        ("ignore_bitrate", _) => quirks.ignores_bitrate = begins,
        ("excess", Some(when)) => quirks.excess_from = when,
        ("excess", None) => quirks.excess = value.parse().map_err(|error| format!("{error}"))?,
        ("slow", Some(when)) => quirks.takes_from = when,
        ("slow", None) => quirks.takes = duration(value)?,
        ("idr", None) => quirks.key_frame_each_change = true,
        ("follows_after", None) => quirks.follows_after = duration(value)?,
        ("hang", None) => quirks.hangs_at = Some(stage(value)?),
        ("crash", None) => quirks.crashes_at = Some(stage(value)?),
        ("force_key", None) => {
            quirks.force_key = match value {
                "obeyed" => ForceKey::Obeyed,
                "ignored" => ForceKey::Ignored,
                _ => return Err("obeyed or ignored".to_owned()),
            }
        }
        _ => return Err("no such knob".to_owned()),
    }
    Ok(())
}

fn stage(name: &str) -> Result<Stage, String> {
    match name {
        "creation" => Ok(Stage::Creation),
        "ready" => Ok(Stage::Ready),
        "first" => Ok(Stage::FirstPicture),
        "stop" => Ok(Stage::Stop),
        _ => Err("creation, ready, first or stop".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or("a duration ends with s or ms")?, 1.0),
    };
    let number: f64 = number.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}
