//! `GET /v1/capabilities`: what this machine can encode with, and how it is known. `uplinkd devices --json`
//! says it in the same form.

use axum::http::StatusCode;
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::causes::with_causes;
use crate::probe::cache::Entry;
use crate::probe::plan::Step;
use crate::probe::{BackEnd, Probes, USUAL_MODE};

/// All rows of the encoder table, H.264 first, each codec's in order of preference.
#[derive(Debug, Serialize, ToSchema)]
pub struct Capabilities {
    /// Those that an encoder is here for, whether it was probed or not.
    pub codecs: Vec<String>,
    pub encoders: Vec<Encoder>,
}

/// One row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EncoderRow)]
pub struct Encoder {
    /// The family, as in `video.encoder`.
    pub backend: &'static str,
    /// GStreamer's name of the element.
    pub element: &'static str,
    pub codec: String,
    pub hardware: bool,
    /// Whether each change of its rate brings a key frame, by the table.
    pub key_frame_on_change: bool,
    pub memory: Memory,
    /// Whether it can be tried.
    pub available: bool,
    /// Why not, or that nobody has tried yet; `null` where there are probes.
    pub reason: Option<String>,
    /// What is known, a mode each, the oldest first.
    pub probes: Vec<Probe>,
}

/// How a picture gets from system memory into the encoder.
#[derive(Debug, Serialize, ToSchema)]
pub struct Memory {
    pub path: &'static str,
    pub converter: Option<&'static str>,
    pub copies: u32,
    /// Pictures in DMABufs.
    pub import: Import,
}

/// Whether pictures that a camera gives in DMABufs can get into the encoder without a copy.
#[derive(Debug, Serialize, ToSchema)]
pub struct Import {
    pub available: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What a probe said.
#[derive(Debug, Serialize, ToSchema)]
pub struct Probe {
    pub width: u32,
    pub height: u32,
    pub framerate: String,
    /// `proven`, `too_slow` or `refused`.
    pub verdict: &'static str,
    /// In words.
    pub reason: String,
    pub preset: Option<String>,
    /// Of real time.
    pub factor: Option<f64>,
    pub rates: Vec<RateStep>,
    /// Whether each change of its rate brought a key frame.
    pub key_frame_on_change: Option<bool>,
    /// Seconds since 1970.
    pub probed_at: u64,
}

/// A rate that was asked for, and what came once it had settled.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RateStep {
    pub asked_bps: u64,
    pub gave_bps: u64,
}

/// The route. Files and GStreamer's registry are asked, so it runs beside the other answers.
#[utoipa::path(get, path = "/v1/capabilities", operation_id = "capabilities", tag = "machine", responses(
    (status = 200, description = "Every encoder that uplinkd knows, and what is known of it here.", body = Capabilities),
    (status = 500, description = "They cannot be listed."),
))]
pub async fn answer() -> Result<Json<Capabilities>, Problem> {
    let unknown = |detail: &str| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
    let asked = tokio::task::spawn_blocking(|| {
        let probes = Probes::of_this_machine()?;
        Ok::<_, crate::probe::parent::Error>(Capabilities::of(&probes.back_ends(USUAL_MODE)))
    });
    match asked.await {
        Ok(Ok(capabilities)) => Ok(Json(capabilities)),
        Ok(Err(error)) => {
            log::error!("{}", with_causes(&error));
            Err(unknown("this program's own file is not known"))
        }
        Err(error) => {
            log::error!(error:%; "listing the encoders failed");
            Err(unknown("listing the encoders failed"))
        }
    }
}

impl Capabilities {
    pub fn of(back_ends: &[BackEnd]) -> Capabilities {
        let mut codecs: Vec<String> = Vec::new();
        for back_end in back_ends.iter().filter(|back_end| back_end.offer.unavailable.is_none()) {
            let codec = back_end.offer.info.codec.to_string();
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        Capabilities { codecs, encoders: back_ends.iter().map(Encoder::from).collect() }
    }
}

impl From<&BackEnd> for Encoder {
    fn from(BackEnd { offer, probes, import }: &BackEnd) -> Encoder {
        let info = offer.info;
        let not_probed = || "not probed: run uplinkd devices --probe".to_owned();
        Encoder {
            backend: info.backend,
            element: info.element,
            codec: info.codec.to_string(),
            hardware: info.hardware,
            key_frame_on_change: info.rate_change_is_key_frame,
            memory: Memory {
                path: info.memory.description,
                converter: info.memory.converter,
                copies: info.memory.copies,
                import: Import::from(import),
            },
            available: offer.unavailable.is_none(),
            reason: offer.unavailable.clone().or_else(|| probes.is_empty().then(not_probed)),
            probes: probes.iter().map(Probe::from).collect(),
        }
    }
}

impl From<&Option<Result<(), String>>> for Import {
    fn from(import: &Option<Result<(), String>>) -> Import {
        let reason = match import {
            Some(Ok(())) => None,
            Some(Err(reason)) => Some(reason.clone()),
            None => Some("the encoder imports none".to_owned()),
        };
        Import { available: reason.is_none(), reason }
    }
}

impl From<&Entry> for Probe {
    fn from(entry: &Entry) -> Probe {
        let measured = entry.measured.as_ref();
        Probe {
            width: entry.key.width,
            height: entry.key.height,
            framerate: entry.key.framerate.clone(),
            verdict: entry.verdict.as_str(),
            reason: entry.verdict.reason(),
            preset: entry.preset.clone(),
            factor: measured.map(|measured| measured.factor),
            rates: measured
                .map(|measured| measured.rates.iter().map(RateStep::from).collect())
                .unwrap_or_default(),
            key_frame_on_change: measured.map(|measured| measured.key_frame_on_change),
            probed_at: entry.probed_at,
        }
    }
}

impl From<&Step> for RateStep {
    fn from(Step { asked, gave }: &Step) -> RateStep {
        RateStep { asked_bps: asked.as_bps(), gave_bps: gave.as_bps() }
    }
}
