//! `uplinkd devices`: what this machine has to see, hear and encode with.

use std::io::IsTerminal;

use clap::Args;
use log::LevelFilter;
use serde::Serialize;

use super::Failure;
use crate::api::capabilities::{Capabilities, Encoder, Probe};
use crate::api::devices;
use crate::api::devices::{Video, VideoControl, VideoFormat, VideoSize};
use crate::media;
use crate::probe::{BackEnd, Probes, USUAL_MODE};
use crate::telemetry;

#[derive(Debug, Args)]
pub struct DevicesArguments {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Try every encoder that is here, at 1280×720 with 30 pictures a second; takes seconds for each
    #[arg(long)]
    probe: bool,
}

/// Lists everything, whatever is missing.
pub fn run(arguments: &DevicesArguments) -> Result<(), Failure> {
    telemetry::init(LevelFilter::Warn).map_err(Failure::other)?;
    media::init().map_err(Failure::gstreamer)?;
    let probes = Probes::of_this_machine().map_err(Failure::other)?;
    if arguments.probe {
        super::block_on(probe(&probes))?;
    }
    let devices = Devices::of(&probes)?;
    super::say(&if arguments.json { devices.json()? } else { devices.text() })
}

/// What `--json` prints; GStreamer is there.
pub fn json() -> Result<String, Failure> {
    Devices::of(&Probes::of_this_machine().map_err(Failure::other)?)?.json()
}

/// One after the other, each with a line on a terminal, where somebody waits.
async fn probe(probes: &Probes) {
    let here = |back_end: &BackEnd| back_end.offer.unavailable.is_none();
    for BackEnd { offer, .. } in probes.back_ends(USUAL_MODE).into_iter().filter(here) {
        if std::io::stderr().is_terminal() {
            eprintln!("probing {} ({}) …", offer.info.element, offer.info.codec);
        }
        probes.probe(offer.info, USUAL_MODE).await;
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Devices {
    #[serde(flatten)]
    inputs: devices::Devices,
    #[serde(flatten)]
    capabilities: Capabilities,
}

impl Devices {
    fn of(probes: &Probes) -> Result<Self, Failure> {
        let inputs = devices::Devices::of_this_machine().map_err(Failure::other)?;
        Ok(Devices { inputs, capabilities: Capabilities::of(&probes.back_ends(USUAL_MODE)) })
    }

    fn json(&self) -> Result<String, Failure> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self).map_err(Failure::other)?))
    }

    fn text(&self) -> String {
        let mut text = String::from("Capture devices\n");
        let mut video: Vec<String> = self.inputs.video.iter().flat_map(video_lines).collect();
        let mute = &self.inputs.video_errors;
        video.extend(mute.iter().map(|mute| format!("{}  cannot be asked: {}", mute.node, mute.reason)));
        text.push_str(&paragraph(video, "none: no node /dev/videoN gives pictures"));
        text.push_str("\nSound inputs\n");
        let sound =
            self.inputs.sound.iter().map(|input| format!("{}  {}", input.device, input.name)).collect();
        text.push_str(&paragraph(sound, "none: ALSA knows of no card that records"));
        text.push_str("\nEncoders, in order of preference\n");
        let width = |of: fn(&Encoder) -> &str| {
            self.capabilities.encoders.iter().map(|encoder| of(encoder).len()).max().unwrap_or_default()
        };
        let (element, backend) = (width(|encoder| encoder.element), width(|encoder| encoder.backend));
        for encoder in &self.capabilities.encoders {
            text.push_str(&encoder_lines(encoder, element, backend));
        }
        text
    }
}

/// Its line; below, the names that it keeps, its input, what it offers, and what can be adjusted.
fn video_lines(video: &Video) -> Vec<String> {
    let serial = video.serial.as_ref().map(|serial| format!(", serial {serial}")).unwrap_or_default();
    let mut lines =
        vec![format!("{}  {} ({}{serial}, at {})", video.node, video.name, video.driver, video.bus)];
    lines.extend(video.by_id.iter().map(|id| format!("    device = \"by-id:{id}\"")));
    lines.extend(video.by_path.iter().map(|path| format!("    device = \"by-path:{path}\"")));
    if let (Some(input), true) = (&video.input, video.signal.state != "untold") {
        lines.push(format!("    {input}: {}", video.signal.text));
    }
    lines.extend(format_lines(&video.formats).into_iter().map(|line| format!("    {line}")));
    lines.extend(video.controls.iter().filter(|it| it.kind != "other" && !it.read_only).map(control_line));
    lines
}

/// Formats that can be used, those with the same sizes and rates in one line; then the names of the others.
fn format_lines(formats: &[VideoFormat]) -> Vec<String> {
    let mut groups: Vec<(Vec<&str>, &[VideoSize])> = Vec::new();
    for format in formats.iter().filter(|format| format.usable) {
        match groups.iter_mut().find(|(_, sizes)| *sizes == format.sizes) {
            Some((names, _)) => names.push(&format.fourcc),
            None => groups.push((vec![&format.fourcc], &format.sizes)),
        }
    }
    let mut lines: Vec<String> =
        groups.iter().map(|(names, sizes)| format!("{}: {}", names.join(" "), sizes_line(sizes))).collect();
    let others: Vec<_> = formats.iter().filter(|it| !it.usable).map(|it| it.fourcc.as_str()).collect();
    if !others.is_empty() {
        lines.push(format!("not usable: {}", others.join(" ")));
    }
    lines
}

fn sizes_line(sizes: &[VideoSize]) -> String {
    let size = |VideoSize { size, rates }: &VideoSize| match rates.as_slice() {
        [] => size.clone(),
        rates => format!("{size} at {}", rates.join(" ")),
    };
    let sizes: Vec<String> = sizes.iter().map(size).collect();
    if sizes.is_empty() { "sizes not listed".to_owned() } else { sizes.join(", ") }
}

fn control_line(control: &VideoControl) -> String {
    let VideoControl { name, range, default, .. } = control;
    match control.value {
        Some(value) => format!("    controls.{name} = {value}: {range}; {default} as delivered"),
        None => format!("    controls.{name}: {range}"),
    }
}

/// Its line; below, what further probes have said, and how pictures get to it where it is there.
fn encoder_lines(encoder: &Encoder, element_width: usize, backend_width: usize) -> String {
    let Encoder { element, backend, codec, .. } = encoder;
    let kind = if encoder.hardware { "hardware" } else { "software" };
    let head = format!("  {element:element_width$}  {codec}  {backend:backend_width$}  {kind}  ");
    let indent = " ".repeat(head.chars().count());
    let mut said: Vec<String> = match &encoder.reason {
        Some(reason) if encoder.available => vec![reason.clone()],
        Some(reason) => vec![format!("out: {reason}")],
        None => Vec::new(),
    };
    said.extend(encoder.probes.iter().map(probe_words));
    if encoder.available {
        let copies = encoder.memory.copies;
        let copies = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
        said.push(format!("{copies} a picture: {}", encoder.memory.path));
        if encoder.memory.import.available {
            said.push("none, of a camera that gives DMABufs in the stream's own format".to_owned());
        }
    }
    head + &said.join(&format!("\n{indent}")) + "\n"
}

fn probe_words(probe: &Probe) -> String {
    let Probe { width, height, framerate, reason, .. } = probe;
    let mode = format!("{width}×{height}, {framerate}/s");
    let words = if reason.contains(&mode) { reason.clone() } else { format!("{mode}: {reason}") };
    match &probe.preset {
        Some(preset) => format!("{words}, preset {preset}"),
        None => words,
    }
}

/// Indented lines, or the words for none.
fn paragraph(lines: Vec<String>, none: &str) -> String {
    let lines = if lines.is_empty() { vec![none.to_owned()] } else { lines };
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::capabilities::{Import, Memory};
    use crate::api::devices::{SignalState, Sound, VideoError};

    #[test]
    fn a_machine_as_people_read_it() {
        let sizes = |all: &[(&str, &[&str])]| -> Vec<VideoSize> {
            let rates = |rates: &[&str]| rates.iter().map(|rate| (*rate).to_owned()).collect();
            all.iter().map(|(size, all)| VideoSize { size: (*size).to_owned(), rates: rates(all) }).collect()
        };
        let format = |fourcc: &str, usable, sizes| VideoFormat {
            fourcc: fourcc.to_owned(),
            description: String::new(),
            usable,
            sizes,
        };
        let video = Video {
            node: "/dev/video0".to_owned(),
            name: "USB Camera".to_owned(),
            driver: "uvcvideo".to_owned(),
            bus: "usb-0000:00:14.0-2".to_owned(),
            serial: Some("0001".to_owned()),
            by_id: Some("usb-Cam_0001-video-index0".to_owned()),
            by_path: Some("pci-0".to_owned()),
            input: Some("Camera 1".to_owned()),
            signal: SignalState {
                state: "absent",
                text: "no signal".to_owned(),
                width: None,
                height: None,
                framerate: None,
                interlaced: None,
            },
            formats: vec![
                format("YUYV", true, sizes(&[("640x480", &["30", "7.5"]), ("1280x720", &["10"])])),
                format("pRAA", false, Vec::new()),
                format("UYVY", true, sizes(&[("640x480", &["30", "7.5"]), ("1280x720", &["10"])])),
                format("MJPG", true, sizes(&[("1280x720", &["30"])])),
            ],
            controls: vec![VideoControl {
                name: "brightness".to_owned(),
                kind: "integer",
                range: "0 to 255".to_owned(),
                default: 128,
                value: Some(10),
                read_only: false,
                inactive: false,
            }],
        };
        let sound = Sound { device: "hw:CARD=Device,DEV=0".to_owned(), name: "USB Audio".to_owned() };
        let mute = VideoError { node: "/dev/video4".to_owned(), reason: "it hangs".to_owned() };
        let here = Encoder {
            probes: vec![
                probe("proven at 3.1 times real time", Some("superfast")),
                probe("keeps 0.6 of real time at 1920×1080, 30/s", None),
            ],
            ..encoder("x264enc", "software", true)
        };
        let not_probed =
            Encoder { reason: Some("not probed".to_owned()), ..encoder("vah264enc", "vaapi", true) };
        let missing =
            Encoder { reason: Some("no device".to_owned()), ..encoder("v4l2h264enc", "v4l2m2m", false) };
        let codecs = vec!["h264".to_owned()];
        let capabilities = Capabilities { codecs, encoders: vec![here, not_probed, missing] };
        let inputs = devices::Devices { video: vec![video], video_errors: vec![mute], sound: vec![sound] };
        let devices = Devices { inputs, capabilities };
        let expected = "Capture devices\n  \
            /dev/video0  USB Camera (uvcvideo, serial 0001, at usb-0000:00:14.0-2)\n      \
            device = \"by-id:usb-Cam_0001-video-index0\"\n      \
            device = \"by-path:pci-0\"\n      \
            Camera 1: no signal\n      \
            YUYV UYVY: 640x480 at 30 7.5, 1280x720 at 10\n      \
            MJPG: 1280x720 at 30\n      \
            not usable: pRAA\n      \
            controls.brightness = 10: 0 to 255; 128 as delivered\n  \
            /dev/video4  cannot be asked: it hangs\n\n\
            Sound inputs\n  hw:CARD=Device,DEV=0  USB Audio\n\n\
            Encoders, in order of preference\n  \
            x264enc      h264  software  software  1920×1080, 30/s: proven at 3.1 times real time, preset superfast\n\
            \x20                                        keeps 0.6 of real time at 1920×1080, 30/s\n\
            \x20                                        1 copy a picture: system memory\n  \
            vah264enc    h264  vaapi     hardware  not probed\n\
            \x20                                        1 copy a picture: system memory\n  \
            v4l2h264enc  h264  v4l2m2m   hardware  out: no device\n";
        assert_eq!(devices.text(), expected);
    }

    #[test]
    fn a_machine_without_anything_says_so() {
        let capabilities = Capabilities { codecs: Vec::new(), encoders: Vec::new() };
        let text = Devices { inputs: devices::Devices::default(), capabilities }.text();
        assert!(text.contains("none: no node /dev/videoN gives pictures"), "{text}");
        assert!(text.contains("none: ALSA knows of no card that records"), "{text}");
    }

    fn encoder(element: &'static str, backend: &'static str, available: bool) -> Encoder {
        Encoder {
            backend,
            element,
            codec: "h264".to_owned(),
            hardware: backend != "software",
            key_frame_on_change: false,
            memory: Memory {
                path: "system memory",
                converter: None,
                copies: 1,
                import: Import { available: false, reason: None },
            },
            available,
            reason: None,
            probes: Vec::new(),
        }
    }

    fn probe(reason: &str, preset: Option<&str>) -> Probe {
        Probe {
            width: 1920,
            height: 1080,
            framerate: "30".to_owned(),
            verdict: "proven",
            reason: reason.to_owned(),
            preset: preset.map(str::to_owned),
            factor: None,
            rates: Vec::new(),
            key_frame_on_change: None,
            probed_at: 0,
        }
    }
}
