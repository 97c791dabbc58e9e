//! `uplinkd devices`: what this machine has to see, hear and encode with.

use std::io::IsTerminal;

use clap::Args;
use log::LevelFilter;
use serde::Serialize;

use super::Failure;
use crate::api::capabilities::{Capabilities, Encoder, Probe};
use crate::capture::{self, Device, SoundInput};
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
    let devices = Devices::new(&capture::devices(), &capture::sound_inputs(), &probes.back_ends(USUAL_MODE));
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&devices).map_err(Failure::other)?)
    } else {
        devices.text()
    };
    super::say(&text)
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
    video: Vec<Video>,
    sound: Vec<Sound>,
    #[serde(flatten)]
    capabilities: Capabilities,
}

#[derive(Debug, Serialize)]
struct Video {
    node: String,
    name: String,
    driver: String,
    by_id: Option<String>,
    by_path: Option<String>,
}

#[derive(Debug, Serialize)]
struct Sound {
    device: String,
    name: String,
}

impl Devices {
    fn new(video: &[Device], sound: &[SoundInput], back_ends: &[BackEnd]) -> Devices {
        Devices {
            video: video.iter().map(Video::from).collect(),
            sound: sound.iter().map(Sound::from).collect(),
            capabilities: Capabilities::of(back_ends),
        }
    }

    fn text(&self) -> String {
        let mut text = String::from("Capture devices\n");
        let video = self.video.iter().map(Video::line).collect();
        text.push_str(&paragraph(video, "none: no node /dev/videoN gives pictures"));
        text.push_str("\nSound inputs\n");
        let sound = self.sound.iter().map(|input| format!("{}  {}", input.device, input.name)).collect();
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

impl Video {
    fn line(&self) -> String {
        let Video { node, name, driver, by_id, by_path } = self;
        let stable = match (by_id, by_path) {
            (Some(id), _) => format!("  by-id:{id}"),
            (None, Some(path)) => format!("  by-path:{path}"),
            (None, None) => String::new(),
        };
        format!("{node}  {name} ({driver}){stable}")
    }
}

impl From<&Device> for Video {
    fn from(device: &Device) -> Video {
        let Device { node, name, driver, by_id, by_path } = device.clone();
        Video { node: node.display().to_string(), name, driver, by_id, by_path }
    }
}

impl From<&SoundInput> for Sound {
    fn from(input: &SoundInput) -> Sound {
        Sound { device: input.device.clone(), name: input.name.clone() }
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
    use crate::api::capabilities::Memory;

    #[test]
    fn a_machine_as_people_read_it() {
        let video = Video {
            node: "/dev/video0".to_owned(),
            name: "USB Camera".to_owned(),
            driver: "uvcvideo".to_owned(),
            by_id: Some("usb-Cam_0001-video-index0".to_owned()),
            by_path: Some("pci-0".to_owned()),
        };
        let sound = Sound { device: "hw:CARD=Device,DEV=0".to_owned(), name: "USB Audio".to_owned() };
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
        let devices = Devices { video: vec![video], sound: vec![sound], capabilities };
        let expected = "Capture devices\n  /dev/video0  USB Camera (uvcvideo)  by-id:usb-Cam_0001-video-index0\n\n\
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
        let text = Devices { video: Vec::new(), sound: Vec::new(), capabilities }.text();
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
            memory: Memory { path: "system memory", converter: None, copies: 1 },
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
