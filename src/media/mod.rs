//! Pictures and sound: the only code that knows GStreamer.
//!
//! Three kinds of pipeline, none linked to another; what passes between them is handed over by
//! reference and stamped with one clock's time (`clock`):
//!
//! ```text
//!  Capture                          Encode                              Mux, one an output
//!  source ─▶ fixed caps ─▶ Inputs ─▶ switch ─▶ encoder ─▶ Unit ─▶ … ─▶ TS writer ─▶ Chunk
//!  (test, file, V4L2, ALSA)          ▲ slate              (access unit,          (TS packets)
//!                                                          frame of sound)
//! ```
//!
//! - A [`Capture`] may fail, end and be started anew at any time. [`Encode`] runs from the stream's
//!   start to its end: formats are fixed before its switch, so what is behind it renegotiates only where it is told to
//!   ([`Encode::reduce`]).
//! - Pictures are dropped in three places, all of them before the encoder: at the two inlets (two may
//!   wait) and in the queue before the encoder (two may wait). Others are left out on purpose, there too:
//!   a share of them while the link cannot carry them (`thinning`), some for a lower frame rate
//!   (`reduction`). Behind the encoder nothing is dropped here.
//! - What leaves an encoder is looked at on its way (`examiner`): its form always (`form`, `headers`), and of a
//!   sample now and then what a decoder makes of it, elsewhere ([`decode_sample`]).
//! - What a pipeline posts on its bus becomes a [`MediaEvent`], or a line in the log.
//! - A picture is copied on its way to the encoder where it has to be, and else is not (`memory`, `heap`).
//!
//! Reading order: `encode`, `thinning`, `reduction`, `inputs`, `capture`, `camera`, `source`, `homecoming`, `decoding`, `damage`, `test_source`, `device_sound`, `device_clock`, `live_sound`, `sound_inlet`, `strip`, `file`, `slate`, `plain_file`, `sound`, `mux`, `ts`;
//! `glimpse` and `still` for who looks on; and `trial`, which only asks what an encoder is worth.

mod apart;
mod camera;
mod capture;
mod check;
mod clock;
mod contexts;
mod damage;
mod decoding;
mod device_clock;
mod device_sound;
mod encode;
mod encoder;
mod encoding;
mod error;
mod event;
mod examiner;
mod file;
mod form;
mod format;
mod glimpse;
mod graph;
mod handover;
mod headers;
mod heap;
mod homecoming;
mod inbox;
mod inputs;
mod live_sound;
mod machine_code;
pub mod marks;
mod memory;
mod mux;
mod plain_file;
mod process;
mod reduction;
mod resample;
mod slate;
mod sound;
mod sound_inlet;
mod source;
mod still;
mod strip;
mod switch;
mod test_source;
mod thinning;
mod trial;
mod ts;
mod unit;

pub use self::apart::threads_left_behind;
pub use self::capture::Capture;
pub use self::check::{Finding, Severity, check};
pub use self::damage::DamagedFrames;
pub use self::encode::{Counters, Encode, Picture};
pub use self::encoder::{EncoderInfo, Limits, MemoryInUse, MemoryPath, Offer, back_ends, import, offers};
pub use self::encoding::{END_LIMIT, EncoderProgress, HURRIED_START, START_LIMIT};
pub use self::error::Error;
pub use self::event::{EventSender, MediaEvent, events};
pub use self::glimpse::{Glimpse, Seen};
pub use self::inputs::Inputs;
pub use self::machine_code::code_in_memory;
pub use self::mux::Mux;
pub use self::process::prepare;
pub use self::reduction::Reduction;
pub use self::strip::Levels;
pub use self::trial::{CodedPicture, Decoded, End, Mode, Trace, Trial, decode_sample};
pub use self::unit::{Track, Tracks, Unit};

/// Starts GStreamer and the plugins that are built in. Comes before everything else here; may be
/// repeated.
///
/// # Errors
/// When GStreamer does not start, or lacks what every stream needs: then nothing can be streamed.
pub fn init() -> Result<(), Error> {
    gst::init().map_err(Error::Init)?;
    ALWAYS_NEEDED.into_iter().try_for_each(graph::require)?;
    gstfallbackswitch::plugin_register_static().map_err(Error::Register)?;
    gstlivesync::plugin_register_static().map_err(Error::Register)?;
    quieten();
    Ok(())
}

/// GStreamer's version, as it calls itself.
pub fn version() -> String {
    gst::version_string().to_string()
}

/// The version of the plugin that holds this element; `None` where there is no such element.
pub fn plugin_version(element: &str) -> Option<String> {
    use gst::prelude::PluginFeatureExt;

    let plugin = gst::ElementFactory::find(element)?.plugin()?;
    Some(plugin.version().to_string())
}

/// GStreamer's own log goes to ours, errors only: what concerns a stream comes over the bus anyway.
/// With GST_DEBUG set, GStreamer writes as it is told there.
fn quieten() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    if std::env::var_os("GST_DEBUG").is_some() {
        return;
    }
    ONCE.call_once(|| {
        gst::log::remove_default_log_function();
        gst::log::set_default_threshold(gst::DebugLevel::Error);
        gst::log::add_log_function(|category, _level, _file, _function, _line, _object, message| {
            let text = message.get().unwrap_or_default();
            log::debug!(target: "gstreamer", category = category.name(); "{text}");
        });
    });
}

/// Of GStreamer's core and its base plugins; what only some streams need, [`check()`] looks at.
const ALWAYS_NEEDED: [&str; 5] = ["appsrc", "appsink", "queue", "capsfilter", "videotestsrc"];
