//! What running pipelines report: GStreamer's bus, turned into a closed set of events.

use gst::prelude::*;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// News from a running pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// A camera was opened: which it is, in which mode, and why in that one.
    CaptureOpened { camera: String, mode: String, reason: String },
    /// Its controls were set; what was refused, each in words.
    ControlsSet { refused: Vec<String> },
    /// A camera is there, and its input has no picture.
    CaptureWaits { reason: String },
    /// Now it has: start a new capture.
    CaptureReady,
    /// The first picture came; in the format that the source gives before it is converted.
    CaptureLive { format: String },
    /// The source ended by itself; nothing more comes from it.
    CaptureEnded,
    /// The source failed; nothing more comes from it. Start a new capture.
    CaptureFailed { reason: String },
    /// The picture's source has no sound track; silence is sent.
    SoundMissing { reason: String },
    /// The sound's source failed; silence is sent until [`MediaEvent::SoundLive`]. Its capture tries
    /// by itself to open it again.
    SoundFailed { reason: String },
    /// The sound's source gives sound, for the first time or again; in the format that it gives before it
    /// is converted.
    SoundLive { format: String },
    /// The encoder in use failed, and gives nothing more: replace it
    /// ([`Encode::replace`](super::Encode::replace)). What one that was replaced says is no event.
    /// `encoder` is the one that was in use, by its name in the table; `element` the part of it that said so.
    EncoderFailed { encoder: &'static str, element: String, reason: String },
    /// The encoder in use failed while it imported pictures, and gives nothing more: a fresh one of its kind is given
    /// copies ([`Encode::replace`](super::Encode::replace)).
    MemoryRefused { encoder: &'static str, reason: String },
    /// The encoder in use goes on, and what it gives is no stream that a decoder could use.
    EncoderBroken { encoder: &'static str, reason: &'static str },
    /// The pipeline of switch and sound stopped. Start a new [`Encode`](super::Encode).
    ProgramFailed { element: String, reason: String },
}

/// Where events go. Make one channel for each [`Encode`](super::Encode) and each
/// [`Capture`](super::Capture): what an old one still says is then never taken for the new one's.
#[derive(Clone, Debug)]
pub struct EventSender(mpsc::Sender<MediaEvent>);

/// A channel of events.
pub fn events() -> (EventSender, mpsc::Receiver<MediaEvent>) {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
    (EventSender(sender), receiver)
}

impl EventSender {
    /// Never blocks: GStreamer's own threads call this. Nobody listening any more is not an error.
    pub(super) fn send(&self, event: MediaEvent) {
        match self.0.try_send(event) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(event)) => {
                log::error!(event:? = event; "media event lost: the receiver does not keep up");
            }
        }
    }
}

/// What a bus message means to us.
pub(super) enum Report {
    /// An element posted an error: the pipeline will not work again.
    Failed { element: String, reason: String },
    /// All sinks have reached the end of the stream.
    Ended,
    /// The pipeline has its first buffers in all sinks.
    Prerolled,
}

/// Reads one bus message. Warnings and notes are logged here; what only drives GStreamer's own
/// machinery is left out.
pub(super) fn read(message: &gst::Message) -> Option<Report> {
    use gst::MessageView;

    let element = message.src().map(|source| source.name().to_string()).unwrap_or_default();
    match message.view() {
        MessageView::Error(error) => {
            let reason = plain_reason(&error.error(), error.debug().as_deref());
            log::debug!(element = element, debug:? = error.debug(); "pipeline error: {reason}");
            Some(Report::Failed { element, reason })
        }
        MessageView::Eos(_) => Some(Report::Ended),
        MessageView::AsyncDone(_) => Some(Report::Prerolled),
        MessageView::Warning(warning) => {
            log::warn!(element = element; "{}", plain_reason(&warning.error(), warning.debug().as_deref()));
            None
        }
        MessageView::Info(info) => {
            log::info!(element = element; "{}", info.error());
            None
        }
        MessageView::Qos(qos) => {
            log::trace!(element = element, stats:? = qos.stats(); "quality of service");
            None
        }
        // Latency: our live pipelines' sinks do not wait for the clock, so there is none to spread.
        // Clock messages: the clock is ours and is never lost. State changes, stream status and
        // starts, tags, element messages, progress, durations, need-context: nothing to act on.
        _ => None,
    }
}

/// GStreamer's message, with the element's own detail where its first line is a stock phrase.
fn plain_reason(error: &gst::glib::Error, debug: Option<&str>) -> String {
    let detail = debug.and_then(|text| text.lines().nth(1)).map(str::trim).filter(|text| !text.is_empty());
    let message = error.message().trim_end_matches('.');
    match detail {
        Some(detail) => format!("{message} ({})", detail.trim_end_matches('.')),
        None => message.to_owned(),
    }
}

/// Events come a few in a stream's life: this many waiting means that nobody reads them, and the
/// newest is lost, with an error in the log.
const EVENTS_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_element_and_its_reason() {
        gst::init().unwrap();
        let element = gst::Bin::with_name("camera");
        let message = gst::message::Error::builder(gst::ResourceError::Read, "Could not read.")
            .debug("v4l2src.c(1): poll ():\npoll error 1: No such device (19)")
            .src(&element)
            .build();
        let Some(Report::Failed { element, reason }) = read(&message) else { panic!("not a failure") };
        assert_eq!(element, "camera");
        assert_eq!(reason, "Could not read (poll error 1: No such device (19))");
    }

    #[test]
    fn the_rest_of_the_bus_is_no_news() {
        gst::init().unwrap();
        assert!(matches!(read(&gst::message::Eos::new()), Some(Report::Ended)));
        assert!(read(&gst::message::Latency::new()).is_none());
        assert!(read(&gst::message::Warning::new(gst::CoreError::Failed, "odd")).is_none());
    }

    #[test]
    fn a_full_channel_never_blocks() {
        let (sender, mut receiver) = events();
        for _ in 0..=EVENTS_WAITING {
            sender.send(MediaEvent::CaptureEnded);
        }
        let received = std::iter::from_fn(|| receiver.try_recv().ok()).count();
        assert_eq!(received, EVENTS_WAITING);
        drop(receiver);
        sender.send(MediaEvent::CaptureEnded);
    }
}
