//! `[[streams.NAME.outputs]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::super::{KeyLength, Output, OutputName, SrtMode, SrtUrl};
use super::convert::{self, Value};
use super::report::Complaint;
use super::section::Section;
use super::url;

/// The outputs of one stream, exactly one of them the lead where there is any.
pub(super) fn read(stream: &mut Section<'_>) -> Option<Vec<Output>> {
    let mut outputs: Vec<Option<Output>> = Vec::new();
    let mut seen = Seen::default();
    for section in stream.list("outputs")? {
        outputs.push(read_one(section, &mut seen));
    }
    let mut outputs: Vec<Output> = outputs.into_iter().collect::<Option<_>>()?;
    if seen.lead.is_none()
        && let Some(first) = outputs.first_mut()
    {
        first.lead = true;
    }
    Some(outputs)
}

/// What must not come twice, each with the line where it stands already.
#[derive(Default)]
struct Seen {
    names: Vec<(OutputName, String)>,
    targets: Vec<(SrtUrl, Option<String>, String)>,
    lead: Option<String>,
}

fn read_one(mut section: Section<'_>, seen: &mut Seen) -> Option<Output> {
    let name_fix = "write name = \"studio\", for instance: the name that status and metrics will show";
    let name = section.required("name", name, name_fix);
    let url = section.required("url", url::read, "write url = \"srt://HOST:PORT\", where the stream goes");
    let lead = section.read("lead", convert::boolean).or(false);
    let latency =
        section.read("latency_ms", |value| convert::milliseconds(value, LATENCY_MS)).or(DEFAULT_LATENCY);
    let stream_id = section.read("stream_id", stream_id).optional();
    let passphrase_file = section.read("passphrase_file", convert::path).optional();
    let key_length = section.read("key_length", key_length).optional();

    if let (Some(Some(_)), Some(None)) = (key_length, &passphrase_file) {
        let message = "is set, but without a passphrase_file nothing is encrypted";
        let fix = "write passphrase_file = \"/…\", or remove key_length";
        section.complain("key_length", Complaint::new(message, fix));
    }

    if let Some(name) = &name {
        if let Some((_, line)) = seen.names.iter().find(|(seen, _)| seen == name) {
            let message = format!("{:?} is the name of the output in {line} too", name.as_str());
            section.complain("name", Complaint::new(message, "write another name"));
        }
        seen.names.push((name.clone(), section.line_of("name")));
    }
    if let (Some(SrtUrl { mode: SrtMode::Rendezvous, .. }), Some(Some(_))) = (&url, &stream_id) {
        let message = "is for callers and listeners: in a rendezvous SRT has none";
        section.complain("stream_id", Complaint::new(message, "remove it"));
    }
    if let (Some(url), Some(stream_id)) = (&url, &stream_id) {
        // One receiver may take several streams; a port of this machine is one output's.
        let is_twin = |seen: &SrtUrl, id: &Option<String>| match url.mode {
            SrtMode::Caller => seen == url && id == stream_id,
            SrtMode::Listener | SrtMode::Rendezvous => seen == url,
        };
        let twin = seen.targets.iter().find(|(seen, id, _)| is_twin(seen, id));
        if let Some((_, _, line)) = twin {
            let (message, fix) = match url.mode {
                SrtMode::Caller => (
                    format!("the output in {line} goes there already"),
                    "write another url, or a stream_id of its own, or remove one of the two",
                ),
                SrtMode::Listener | SrtMode::Rendezvous => (
                    format!("the output in {line} has this port already"),
                    "write another port, or remove one of the two",
                ),
            };
            section.complain("url", Complaint::new(message, fix));
        }
        seen.targets.push((url.clone(), stream_id.clone(), section.line_of("url")));
    }
    if lead == Some(true) {
        if let Some(line) = &seen.lead {
            let message = format!("is true, as in {line}, but the rate follows one output only");
            section.complain("lead", Complaint::new(message, "remove lead here or there"));
        }
        seen.lead.get_or_insert(section.line_of("lead"));
    }
    section.finish();
    Some(Output {
        name: name?,
        url: url?,
        lead: lead?,
        latency: latency?,
        stream_id: stream_id?,
        passphrase_file: passphrase_file?,
        key_length: key_length?.unwrap_or(KeyLength::Aes128),
    })
}

fn name(value: &Value<'_>) -> Result<OutputName, Complaint> {
    let text = convert::text(value)?;
    OutputName::new(text).map_err(|error| {
        let message = format!("{} is no name for an output", convert::shown(text));
        Complaint::new(message, format!("take another: {error}"))
    })
}

fn stream_id(value: &Value<'_>) -> Result<String, Complaint> {
    let id = convert::text(value)?;
    match id.len() {
        1..=LONGEST_STREAM_ID => Ok(id.to_owned()),
        0 => Err(Complaint::new("is empty", "remove it, or write the id that the receiver expects")),
        bytes => Err(Complaint::new(
            format!("has {bytes} bytes, and SRT carries {LONGEST_STREAM_ID}"),
            "write a shorter one",
        )),
    }
}

fn key_length(value: &Value<'_>) -> Result<KeyLength, Complaint> {
    let DeValue::Integer(number) = value.contents else {
        let message = format!("is {}, not a number of bytes", convert::kind(value.contents));
        return Err(Complaint::new(message, "write key_length = 16, 24 or 32"));
    };
    let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
    let bytes = number.and_then(|number| usize::try_from(number).ok());
    let fitting = |bytes: usize| KeyLength::ALL.into_iter().find(|length| length.bytes() == bytes);
    bytes.and_then(fitting).ok_or_else(|| {
        let meant = bytes.filter(|bits| bits % 8 == 0).and_then(|bits| fitting(bits / 8));
        let fix = match meant {
            Some(length) => {
                format!("write key_length = {}, the bytes of {} bits", length.bytes(), length.bytes() * 8)
            }
            None => "write key_length = 16, 24 or 32, for AES-128, AES-192 or AES-256".into(),
        };
        Complaint::new("is no length of an AES key in bytes", fix)
    })
}

/// Below 20 ms no packet can be sent twice on any link; beyond 30 s SRT's buffers do not reach.
const LATENCY_MS: RangeInclusive<i64> = 20..=30_000;

/// Enough for some rounds of retransmission on a mobile link.
const DEFAULT_LATENCY: Duration = Duration::from_secs(2);

/// Bytes. SRT's own limit (`SRTO_STREAMID`).
const LONGEST_STREAM_ID: usize = 512;
