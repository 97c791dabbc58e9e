//! What this machine cannot do of what a stream asks for: known before anything is started.

use std::path::Path;

use super::camera;
use super::decoding::h264_decoder;
use super::encoder;
use super::error::Error;
use super::format::Formats;
use super::graph;
use super::plain_file;
use super::slate;
use super::sound;
use crate::capture;
use crate::causes::with_causes;
use crate::config::{AudioSource, EncoderChoice, Slate, Stream, Video, VideoSource};

/// Something that a stream asks for and this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration's key within the stream, such as `video.path`.
    pub key: &'static str,
    pub message: String,
    /// What to do about it.
    pub fix: String,
    pub severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The stream cannot run.
    Error,
    /// The stream runs, and waits for this.
    Warning,
}

/// Everything that `stream` lacks on this machine. [`init`](super::init) comes first.
pub fn check(stream: &Stream) -> Vec<Finding> {
    let mut findings = Vec::new();
    check_encoder(stream, &mut findings);
    check_source(&stream.video.source, &mut findings);
    check_fallback(stream, &mut findings);
    check_slate(stream, &mut findings);
    check_sound(stream, &mut findings);
    findings
}

fn check_encoder(stream: &Stream, findings: &mut Vec<Finding>) {
    match encoder::choose(&stream.video) {
        Ok(info) => need(encoder::row(info).parser(), "video.codec", findings),
        Err(error) => {
            let fix = match &error {
                Error::MissingElement { package, .. } => install(package),
                _ => "do what is said there, or write encoder = \"auto\" and codec = \"h264\"".to_owned(),
            };
            let (fix, severity) = match in_place(&stream.video) {
                Some(instead) => {
                    let degraded = format!("until then the stream runs with {instead} and is degraded");
                    (format!("{fix}; {degraded}"), Severity::Warning)
                }
                None => (fix, Severity::Error),
            };
            findings.push(Finding { key: "video.encoder", message: error.to_string(), fix, severity });
        }
    }
}

/// What a stream begins with where the encoder that it names is known and not here.
fn in_place(video: &Video) -> Option<&'static str> {
    let Video { encoder, codec, width, height, framerate, .. } = video;
    let is_known = !encoder::offers(encoder, *codec, *width, *height, *framerate).is_empty();
    let auto = Video { encoder: EncoderChoice::Auto, ..video.clone() };
    let instead = encoder::choose(&auto).ok().filter(|_| is_known && *encoder != EncoderChoice::Auto)?;
    Some(instead.element)
}

/// The stream runs without them.
fn check_fallback(stream: &Stream, findings: &mut Vec<Finding>) {
    for source in &stream.video.fallback {
        let mut lacking = Vec::new();
        check_source(source, &mut lacking);
        let as_fallback = |finding| Finding { key: "video.fallback", severity: Severity::Warning, ..finding };
        findings.extend(lacking.into_iter().map(as_fallback));
    }
}

fn check_source(source: &VideoSource, findings: &mut Vec<Finding>) {
    let elements: &[&'static str] = match source {
        VideoSource::Test => &["videotestsrc", "timeoverlay"],
        VideoSource::File { path } => {
            check_file(path, "video.path", findings);
            &["uridecodebin", "videorate", "videoconvertscale"]
        }
        VideoSource::V4l2(camera) => {
            if let Some(path) = &camera.edid_file
                && let Err(error) = camera::read_edid(path)
            {
                findings.push(Finding {
                    key: "video.edid_file",
                    message: with_causes(&error),
                    fix: "write the path of an EDID, as `v4l2-ctl --get-edid=file=…,format=raw` saves one"
                        .to_owned(),
                    severity: Severity::Error,
                });
            }
            if let Err(error) = capture::open(&camera.device, &capture::Chosen::default()) {
                findings.push(Finding {
                    key: "video.device",
                    message: with_causes(&error),
                    fix: "plug the device in; the stream waits for it".to_owned(),
                    severity: Severity::Warning,
                });
            }
            if let Err(missing_decoder) = h264_decoder() {
                findings.push(Finding {
                    severity: Severity::Warning, // for cameras that give nothing else
                    ..missing(&missing_decoder, "video.source")
                });
            }
            &["v4l2src", "jpegdec", "videorate", "videoconvertscale"]
        }
    };
    for element in elements {
        need(element, "video.source", findings);
    }
}

fn check_slate(stream: &Stream, findings: &mut Vec<Finding>) {
    match &stream.video.slate {
        Slate::Text => need("textoverlay", "video.slate", findings),
        Slate::Hold => {}
        Slate::Picture(path) => {
            need("imagefreeze", "video.slate", findings);
            if check_file(path, "video.slate", findings)
                && let Err(error) = slate::picture(path, &Formats::of(&stream.video, ANY_PIXELS))
            {
                findings.push(Finding {
                    key: "video.slate",
                    message: with_causes(&error),
                    fix: "write the path of a PNG or JPEG picture, \"text\" or \"hold\"".to_owned(),
                    severity: Severity::Error,
                });
            }
        }
    }
}

fn check_sound(stream: &Stream, findings: &mut Vec<Finding>) {
    let source: &[&'static str] = match &stream.audio.source {
        AudioSource::None => return,
        AudioSource::Alsa { .. } => &["alsasrc", "audioconvert", "audioresample"],
        AudioSource::Test => &["audiotestsrc", "audioconvert"],
        AudioSource::File => &["audioconvert", "audioresample"],
        AudioSource::Silence => &["audioconvert"],
    };
    for element in source {
        need(element, "audio.source", findings);
    }
    need("audiorate", "audio.source", findings);
    if let AudioSource::Alsa { device } = &stream.audio.source
        && let Some(message) = capture::sound_missing(device)
    {
        findings.push(Finding {
            key: "audio.device",
            message,
            fix: "plug it in; the stream sends silence while it gives no sound".to_owned(),
            severity: Severity::Warning,
        });
    }
    if let Err(error) = sound::check(stream.audio.codec) {
        findings.push(missing(&error, "audio.codec"));
    }
    let without_file = !matches!(stream.video.source, VideoSource::File { .. });
    if stream.audio.source == AudioSource::File && without_file {
        findings.push(Finding {
            key: "audio.source",
            message: "the sound is to come from the video's file, and the video comes from no file"
                .to_owned(),
            fix: "write \"silence\", or give the video source = \"file\"".to_owned(),
            severity: Severity::Warning,
        });
    }
}

/// Whether it is a file, and can be read.
fn check_file(path: &Path, key: &'static str, findings: &mut Vec<Finding>) -> bool {
    let opened = plain_file::open(path);
    if let Err(error) = &opened {
        findings.push(Finding {
            key,
            message: with_causes(error),
            fix: "write the path of a file that the daemon's user can read".to_owned(),
            severity: Severity::Error,
        });
    }
    opened.is_ok()
}

fn need(element: &'static str, key: &'static str, findings: &mut Vec<Finding>) {
    if let Err(error) = graph::require(element) {
        findings.push(missing(&error, key));
    }
}

fn missing(error: &Error, key: &'static str) -> Finding {
    let fix = match error {
        Error::MissingElement { package, .. } => install(package),
        other => other.to_string(),
    };
    Finding { key, message: error.to_string(), fix, severity: Severity::Error }
}

fn install(package: &str) -> String {
    format!("apt install {package}")
}

/// What a picture is converted to just to see whether it is one.
const ANY_PIXELS: &str = "I420";
