//! What happens to a stream, or to the daemon, in the words of its log, its journal and its API.

use log::Level;
use serde::Serialize;

/// Something worth telling. Names and fields are a promise: the API shows them as they are here.
///
/// Rates are in bits per second of video. A `source` is its number among the stream's, 0 for the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// Somebody asked for `start`, `stop` or `restart`.
    ActionRequested {
        action: &'static str,
    },
    /// The stream is in another state. Attempts that fail like the one before are not told again.
    StreamState {
        state: &'static str,
        reason: Option<String>,
    },
    /// The same of an output.
    OutputState {
        output: String,
        state: &'static str,
        reason: Option<String>,
    },
    /// The handshake is done, with this latency agreed upon.
    OutputConnected {
        output: String,
        latency_ms: u64,
    },
    /// The output listens at this address.
    OutputListens {
        output: String,
        address: String,
    },
    CallerArrived {
        output: String,
        caller: String,
    },
    CallerGone {
        output: String,
        caller: String,
        reason: String,
    },
    /// Pictures of this source are encoded; with `fallback`, of another one than the first.
    SourceOnAir {
        source: usize,
        device: Option<String>,
        fallback: bool,
    },
    SlateOnAir {
        reason: String,
    },
    CaptureLive {
        source: Option<usize>,
        format: String,
    },
    /// The device is open and gives no picture yet.
    CaptureWaits {
        source: Option<usize>,
        reason: String,
    },
    CaptureFailed {
        source: Option<usize>,
        reason: String,
    },
    SoundLive {
        format: String,
    },
    /// Silence is sent in place of sound.
    SoundMissing {
        source: Option<usize>,
        reason: String,
    },
    /// Cameras were plugged in or out.
    DevicesChanged {
        appeared: Vec<String>,
        gone: Vec<String>,
    },
    EncoderSought {
        reason: String,
    },
    EncoderProbed {
        element: &'static str,
    },
    EncoderStarted {
        element: &'static str,
        reason: Option<String>,
        target_bps: u64,
    },
    EncoderNotStarted {
        element: &'static str,
        reason: String,
    },
    /// `part` is the GStreamer element that said so.
    EncoderFailed {
        element: &'static str,
        part: String,
        reason: String,
    },
    EncoderBroken {
        element: &'static str,
        reason: String,
    },
    /// `element` is to take the place of `instead_of`; [`Event::EncoderOnAir`] says that it has.
    EncoderReplaced {
        element: &'static str,
        instead_of: &'static str,
        reason: String,
    },
    EncoderOnAir {
        element: &'static str,
    },
    /// No encoder may be used; what would be one is looked at again by and by.
    EncoderMissing {
        reason: String,
    },
    /// Nothing is encoded; without `hopeless`, another attempt follows.
    EncodingFailed {
        reason: String,
        hopeless: bool,
    },
    /// Fewer or smaller pictures, because the encoder does not manage more.
    PictureLowered {
        reason: String,
    },
    PictureRaised {
        reason: String,
    },
    /// Other pictures because of the rate.
    PictureChanged {
        width: u32,
        height: u32,
        framerate: String,
        target_bps: u64,
    },
    /// A sample of the stream did not decode, or could not be looked at.
    SampleDoubted {
        element: Option<&'static str>,
        reason: String,
    },
    /// The target has moved far, or its rule has changed from or to a stall: not each decision is told.
    Rate {
        output: Option<String>,
        rule: &'static str,
        target_bps: u64,
        estimate_bps: Option<u64>,
        thinned_percent: f64,
    },
    /// The machine lacks voltage: a Raspberry Pi's power supply is too weak, or its cable.
    UnderVoltage {
        reason: String,
    },
    VoltageRestored {
        lasted_s: u64,
    },
    /// The machine's processor is slowed down, or will be in a moment.
    Throttled {
        reason: String,
    },
    ThrottlingEnded {
        lasted_s: u64,
    },
    /// The daemon works by another configuration now; an empty list says that nothing was different.
    ConfigurationTaken {
        changes: Vec<String>,
    },
    /// Each error is a line of its own; what runs goes on.
    ConfigurationRefused {
        errors: Vec<String>,
    },
    /// The broker is told from now on, in this version of the protocol.
    MqttConnected {
        broker: String,
        version: &'static str,
    },
    /// It is not, or no longer. Attempts that fail like the one before are not told again.
    MqttLost {
        broker: String,
        reason: String,
    },
    /// A part of the daemon failed and is made anew.
    PartFailed {
        part: String,
    },
    /// The daemon ends as soon as everything is sent.
    Draining {},
}

/// How an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Its name in the API, in metrics and in the journal.
    pub kind: &'static str,
    pub level: Level,
    /// In words, the same for all of a kind but for states.
    pub text: &'static str,
}

impl Event {
    /// These changes were taken.
    pub fn taken(changes: impl Iterator<Item = String>) -> Event {
        Event::ConfigurationTaken { changes: shortened(changes) }
    }

    /// It was refused because of these.
    pub fn refused(errors: impl Iterator<Item = String>) -> Event {
        Event::ConfigurationRefused { errors: shortened(errors) }
    }

    pub fn manner(&self) -> Manner {
        let (kind, level, text) = match self {
            Event::ActionRequested { .. } => ("action_requested", Level::Info, "action requested"),
            Event::StreamState { state, .. } => ("stream_state", stream_level(state), "state changed"),
            Event::OutputState { state, .. } => {
                let (level, text) = output_manner(state);
                ("output_state", level, text)
            }
            Event::OutputConnected { .. } => ("output_connected", Level::Info, "output connected"),
            Event::OutputListens { .. } => ("output_listens", Level::Info, "output listens for callers"),
            Event::CallerArrived { .. } => ("caller_arrived", Level::Info, "a caller is let in"),
            Event::CallerGone { .. } => ("caller_gone", Level::Info, "a caller has gone"),
            Event::SourceOnAir { .. } => ("source_on_air", Level::Info, "source is on air"),
            Event::SlateOnAir { .. } => ("slate_on_air", Level::Warn, "slate is on air"),
            Event::CaptureLive { .. } => ("capture_live", Level::Info, "capture is live"),
            Event::CaptureWaits { .. } => ("capture_waits", Level::Info, "capture waits"),
            Event::CaptureFailed { .. } => ("capture_failed", Level::Warn, "capture failed"),
            Event::SoundLive { .. } => ("sound_live", Level::Info, "sound is live"),
            Event::SoundMissing { .. } => ("sound_missing", Level::Warn, "silence is sent"),
            Event::DevicesChanged { .. } => ("devices_changed", Level::Info, "capture devices have changed"),
            Event::EncoderSought { .. } => ("encoder_sought", Level::Info, "encoder is sought"),
            Event::EncoderProbed { .. } => ("encoder_probed", Level::Info, "encoder is probed"),
            Event::EncoderStarted { .. } => ("encoder_started", Level::Info, "encoder started"),
            Event::EncoderNotStarted { .. } => ("encoder_not_started", Level::Warn, "encoder not started"),
            Event::EncoderFailed { .. } => ("encoder_failed", Level::Warn, "encoder failed"),
            Event::EncoderBroken { .. } => ("encoder_broken", Level::Warn, "encoder gives a broken stream"),
            Event::EncoderReplaced { .. } => ("encoder_replaced", Level::Warn, "encoder is replaced"),
            Event::EncoderOnAir { .. } => ("encoder_on_air", Level::Info, "encoder is on air"),
            Event::EncoderMissing { .. } => ("encoder_missing", Level::Error, "no encoder may be used"),
            Event::EncodingFailed { .. } => ("encoding_failed", Level::Error, "nothing is encoded"),
            Event::PictureLowered { .. } => ("picture_lowered", Level::Warn, "encoded picture lowered"),
            Event::PictureRaised { .. } => ("picture_raised", Level::Info, "encoded picture raised"),
            Event::PictureChanged { .. } => {
                ("picture_changed", Level::Info, "encoded picture changed with the rate")
            }
            Event::SampleDoubted { .. } => {
                ("sample_doubted", Level::Warn, "a sample of the stream was not decoded")
            }
            Event::Rate { .. } => ("rate", Level::Info, "rate changed"),
            Event::UnderVoltage { .. } => ("under_voltage", Level::Warn, "the machine lacks voltage"),
            Event::VoltageRestored { .. } => {
                ("voltage_restored", Level::Info, "the machine has its voltage again")
            }
            Event::Throttled { .. } => ("throttled", Level::Warn, "the machine is slowed down"),
            Event::ThrottlingEnded { .. } => {
                ("throttling_ended", Level::Info, "the machine is no longer slowed down")
            }
            Event::ConfigurationTaken { .. } => ("configuration_taken", Level::Info, "configuration taken"),
            Event::ConfigurationRefused { .. } => (
                "configuration_refused",
                Level::Error,
                "configuration refused, the running configuration stays",
            ),
            Event::MqttConnected { .. } => ("mqtt_connected", Level::Info, "MQTT broker connected"),
            Event::MqttLost { .. } => ("mqtt_lost", Level::Warn, "no connection to the MQTT broker"),
            Event::PartFailed { .. } => ("part_failed", Level::Error, "a part failed, it is made anew"),
            Event::Draining {} => ("draining", Level::Info, "draining"),
        };
        Manner { kind, level, text }
    }

    /// Its fields by name, as the API has them.
    pub fn fields(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields,
            // Cannot happen: every event is a struct of plain values, which a test proves.
            Ok(_) | Err(_) => serde_json::Map::new(),
        }
    }
}

/// A thousand events are kept, and none of them is to be a book.
fn shortened(list: impl Iterator<Item = String>) -> Vec<String> {
    let mut list: Vec<String> = list.collect();
    if list.len() > LONGEST_LIST {
        let more = list.len() - LONGEST_LIST;
        list.truncate(LONGEST_LIST);
        list.push(format!("and {more} more"));
    }
    list
}

fn stream_level(state: &str) -> Level {
    match state {
        "failed" => Level::Error,
        "degraded" | "backing_off" => Level::Warn,
        _ => Level::Info,
    }
}

fn output_manner(state: &str) -> (Level, &'static str) {
    match state {
        "connecting" => (Level::Info, "output waits for its receiver"),
        "streaming" => (Level::Info, "output streams"),
        "degraded" => (Level::Warn, "output has stalled"),
        "backing_off" => (Level::Warn, "output has no connection"),
        _ => (Level::Info, "output has ended"),
    }
}

/// More than anybody reads of one event; the log has them all.
const LONGEST_LIST: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_short_and_say_so() {
        let list = |length: usize| shortened((0..length).map(|number| number.to_string()));
        assert_eq!(list(LONGEST_LIST).len(), LONGEST_LIST);
        assert_eq!(list(LONGEST_LIST + 7).last().map(String::as_str), Some("and 7 more"));
    }

    #[test]
    fn an_event_is_told_by_its_name_with_its_fields() {
        let event = Event::OutputState {
            output: "studio".into(),
            state: "backing_off",
            reason: Some("no answer".into()),
        };
        let Manner { kind, level, text } = event.manner();
        assert_eq!((kind, level, text), ("output_state", Level::Warn, "output has no connection"));
        let fields = serde_json::Value::Object(event.fields());
        let expected = serde_json::json!({"output": "studio", "state": "backing_off", "reason": "no answer"});
        assert_eq!(fields, expected);
        assert!(Event::Draining {}.fields().is_empty());
    }

    #[test]
    fn no_field_takes_the_place_of_what_every_event_has() {
        let events = [
            Event::ActionRequested { action: "stop" },
            Event::SourceOnAir { source: 1, device: None, fallback: true },
            Event::EncoderFailed { element: "x264enc", part: "bin".into(), reason: String::new() },
            Event::ConfigurationTaken { changes: vec!["a".into()] },
            Event::PartFailed { part: "output".into() },
        ];
        for event in events {
            for name in event.fields().keys() {
                assert!(
                    !["id", "time", "event", "level", "stream", "text"].contains(&name.as_str()),
                    "{name}"
                );
            }
            assert!(!event.fields().is_empty(), "{event:?}");
        }
    }
}
