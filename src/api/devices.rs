//! `GET /v1/devices`: what this machine has to see and hear with. `uplinkd devices --json` says it in the same
//! form.

use axum::http::StatusCode;
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::capture::description::{
    Capabilities, Control, ControlKind, Extents, Format, Rates, Signal, Size, Timings,
};
use crate::capture::{self, Device, Mute, SoundInput};
use crate::causes::with_causes;

/// All of them.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Devices {
    /// By the numbers of their nodes.
    pub video: Vec<Video>,
    /// Nodes that cannot be asked what they are.
    pub video_errors: Vec<VideoError>,
    pub sound: Vec<Sound>,
}

/// A capture device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VideoDevice)]
pub struct Video {
    pub node: String,
    pub name: String,
    pub driver: String,
    pub bus: String,
    pub serial: Option<String>,
    /// `video.device = "by-id:…"`.
    pub by_id: Option<String>,
    /// `video.device = "by-path:…"`.
    pub by_path: Option<String>,
    pub input: Option<String>,
    pub signal: SignalState,
    pub formats: Vec<VideoFormat>,
    pub controls: Vec<VideoControl>,
}

/// Whether there is a picture at its input.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignalState {
    /// `untold`, `present` or `absent`.
    pub state: &'static str,
    /// In words.
    pub text: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub framerate: Option<f64>,
    pub interlaced: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct VideoFormat {
    pub fourcc: String,
    pub description: String,
    /// Whether a stream can take it.
    pub usable: bool,
    pub sizes: Vec<VideoSize>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct VideoSize {
    /// `1280x720`, or `32x32 to 2592x1944`.
    pub size: String,
    /// Frames per second, each as `30`, `7.5` or `1 to 90`.
    pub rates: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct VideoControl {
    /// As in `[streams.NAME.video.controls]`.
    pub name: String,
    /// `integer`, `boolean`, `menu`, `button` or `other`.
    pub kind: &'static str,
    /// What it takes, in words.
    pub range: String,
    pub default: i64,
    pub value: Option<i64>,
    pub read_only: bool,
    pub inactive: bool,
}

/// A node that does not answer, or not to us.
#[derive(Debug, Serialize, ToSchema)]
pub struct VideoError {
    pub node: String,
    pub reason: String,
}

/// A sound input.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SoundDevice)]
pub struct Sound {
    /// `audio.device`.
    pub device: String,
    pub name: String,
}

/// The route. Drivers are asked, which may take seconds, so it runs beside the other answers.
#[utoipa::path(get, path = "/v1/devices", operation_id = "devices", tag = "machine", responses(
    (status = 200, description = "Cameras with all that they offer, and sound inputs.", body = Devices),
    (status = 500, description = "They cannot be listed."),
))]
pub async fn answer() -> Result<Json<Devices>, Problem> {
    let unknown = |detail: &str| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
    match tokio::task::spawn_blocking(Devices::of_this_machine).await {
        Ok(Ok(devices)) => Ok(Json(devices)),
        Ok(Err(error)) => {
            log::error!("{}", with_causes(&error));
            Err(unknown("the devices cannot be listed"))
        }
        Err(error) => {
            log::error!(error:%; "listing the devices failed");
            Err(unknown("listing the devices failed"))
        }
    }
}

impl Devices {
    /// Asks them all.
    ///
    /// # Errors
    /// When `/dev` cannot be listed.
    pub fn of_this_machine() -> Result<Devices, capture::Error> {
        let (video, mute) = capture::devices()?;
        Ok(Devices::new(&video, &mute, &capture::sound_inputs()))
    }

    fn new(video: &[Device], mute: &[Mute], sound: &[SoundInput]) -> Devices {
        Devices {
            video: video.iter().map(Video::from).collect(),
            video_errors: mute.iter().map(VideoError::from).collect(),
            sound: sound.iter().map(Sound::from).collect(),
        }
    }
}

impl From<&Device> for Video {
    fn from(device: &Device) -> Video {
        let Capabilities { formats, controls, signal, input, current: _ } = &device.capabilities;
        let identity = &device.identity;
        Video {
            node: device.node.display().to_string(),
            name: identity.card.clone(),
            driver: identity.driver.clone(),
            bus: identity.bus.clone(),
            serial: identity.usb.as_ref().and_then(|usb| usb.serial.clone()),
            by_id: device.by_id.clone(),
            by_path: device.by_path.clone(),
            input: input.clone(),
            signal: SignalState::from(signal),
            formats: formats.iter().map(VideoFormat::from).collect(),
            controls: controls.iter().map(VideoControl::from).collect(),
        }
    }
}

impl From<&Signal> for SignalState {
    fn from(signal: &Signal) -> SignalState {
        let (state, timings) = match signal {
            Signal::Untold => ("untold", None),
            Signal::Present(timings) => ("present", *timings),
            Signal::Absent(_) => ("absent", None),
        };
        SignalState {
            state,
            text: signal.to_string(),
            width: timings.map(|timings| timings.extent.width),
            height: timings.map(|timings| timings.extent.height),
            framerate: timings.and_then(|Timings { rate, .. }| rate).map(|rate| rate.as_f64()),
            interlaced: timings.map(|timings| timings.interlaced),
        }
    }
}

impl From<&Format> for VideoFormat {
    fn from(format: &Format) -> VideoFormat {
        VideoFormat {
            fourcc: format.fourcc.to_string(),
            description: format.description.clone(),
            usable: capture::pixels::coding(format.fourcc).is_some(),
            sizes: format.sizes.iter().map(VideoSize::from).collect(),
        }
    }
}

impl From<&Size> for VideoSize {
    fn from(Size { extent, rates }: &Size) -> VideoSize {
        VideoSize { size: Extents::to_string(extent), rates: rates.iter().map(Rates::to_string).collect() }
    }
}

impl From<&Control> for VideoControl {
    fn from(control: &Control) -> VideoControl {
        VideoControl {
            name: control.name.clone(),
            kind: match control.kind {
                ControlKind::Integer { .. } => "integer",
                ControlKind::Boolean => "boolean",
                ControlKind::Menu(_) => "menu",
                ControlKind::Button => "button",
                ControlKind::Other => "other",
            },
            range: control.range(),
            default: control.default,
            value: control.value,
            read_only: control.read_only,
            inactive: control.inactive,
        }
    }
}

impl From<&Mute> for VideoError {
    fn from(Mute { node, error }: &Mute) -> VideoError {
        VideoError { node: node.display().to_string(), reason: with_causes(error) }
    }
}

impl From<&SoundInput> for Sound {
    fn from(input: &SoundInput) -> Sound {
        Sound { device: input.device.clone(), name: input.name.clone() }
    }
}
