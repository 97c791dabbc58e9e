//! What a stream knows of its camera, over all openings of it.

use std::future::pending;

use super::status::CameraStatus;
use crate::capture::changes::Changes;
use crate::capture::{Chosen, HotPlug};
use crate::config::VideoSource;

/// Of one stream. Belongs to a tokio runtime.
#[derive(Debug, Default)]
pub struct CameraState {
    /// Which camera `auto` has come to mean.
    pub chosen: Chosen,
    /// The camera that is captured from.
    pub status: Option<CameraStatus>,
    hot_plug: HotPlug,
}

impl CameraState {
    /// The next changes of the machine's cameras, where the stream has one at all. Cancel safe.
    pub async fn changes(&mut self, source: &VideoSource) -> Changes {
        match source {
            VideoSource::V4l2(_) => self.hot_plug.next().await,
            VideoSource::Test | VideoSource::File { .. } => pending().await,
        }
    }

    pub fn opened(&mut self, name: String, mode: String, reason: String) {
        self.status = Some(CameraStatus { name, mode, reason, refused: Vec::new() });
    }

    /// Its controls were set, save those that were refused.
    pub fn controls_set(&mut self, stream: &str, refused: Vec<String>) {
        if !refused.is_empty() {
            log::warn!(stream, refused:?; "the camera refuses some of its controls");
        }
        if let Some(status) = &mut self.status {
            status.refused = refused;
        }
    }
}
