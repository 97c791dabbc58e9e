//! What this machine cannot do of what a stream asks for: known before anything is started.

use std::path::Path;

use super::camera;
use super::encoder;
use super::error::Error;
use super::format::Formats;
use super::graph;
use super::slate;
use super::sound;
use crate::capture;
use crate::causes::with_causes;
use crate::config::{AudioSource, Slate, Stream, VideoSource};

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
    check_source(stream, &mut findings);
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
            findings.push(Finding {
                key: "video.encoder",
                message: error.to_string(),
                fix,
                severity: Severity::Error,
            });
        }
    }
}

fn check_source(stream: &Stream, findings: &mut Vec<Finding>) {
    let elements: &[&'static str] = match &stream.video.source {
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
                    message: error.to_string(),
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
    for element in ["audiorate", "aacparse"] {
        need(element, "audio.source", findings);
    }
    if let Err(error) = sound::check() {
        findings.push(missing(&error, "audio.source"));
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

/// Whether the file can be read.
fn check_file(path: &Path, key: &'static str, findings: &mut Vec<Finding>) -> bool {
    let opened = std::fs::File::open(path);
    if let Err(error) = &opened {
        findings.push(Finding {
            key,
            message: format!("cannot read {}: {error}", path.display()),
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
