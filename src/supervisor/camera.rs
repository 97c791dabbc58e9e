//! What a stream knows of its cameras, over all openings of them.

use std::collections::BTreeMap;
use std::future::pending;

use super::status::CameraStatus;
use crate::capture::changes::Changes;
use crate::capture::{Chosen, HotPlug};
use crate::config::{Video, VideoSource};

/// Of one stream, by the numbers of its sources. Belongs to a tokio runtime.
#[derive(Debug, Default)]
pub struct Cameras {
    /// Which camera `auto` has come to mean.
    chosen: BTreeMap<usize, Chosen>,
    /// Those that are captured from.
    open: BTreeMap<usize, CameraStatus>,
    hot_plug: HotPlug,
}

impl Cameras {
    /// The next changes of the machine's cameras, where the stream has one at all. Cancel safe.
    pub async fn changes(&mut self, video: &Video) -> Changes {
        match video.sources().any(|source| matches!(source, VideoSource::V4l2(_))) {
            true => self.hot_plug.next().await,
            false => pending().await,
        }
    }

    /// What `auto` means for this source; shared with who chooses.
    pub fn chosen(&mut self, number: usize) -> Chosen {
        self.chosen.entry(number).or_default().clone()
    }

    /// `auto` may mean any again.
    pub fn forget(&mut self) {
        self.chosen.values().for_each(Chosen::forget);
    }

    pub fn opened(&mut self, number: usize, name: String, mode: String, reason: String) {
        self.open.insert(number, CameraStatus { name, mode, reason, refused: Vec::new() });
    }

    /// It gives pictures.
    pub fn live(&mut self, number: usize) {
        self.chosen(number).doubt(false);
    }

    pub fn failed(&mut self, number: usize) {
        self.chosen(number).doubt(true);
        self.closed(number);
    }

    pub fn closed(&mut self, number: usize) {
        self.open.remove(&number);
    }

    pub fn all_closed(&mut self) {
        self.open.clear();
    }

    /// The camera that is captured from, where this source is one.
    pub fn status(&self, number: usize) -> Option<&CameraStatus> {
        self.open.get(&number)
    }

    /// Its controls were set, save those that were refused.
    pub fn controls_set(&mut self, number: usize, refused: Vec<String>) {
        if let Some(status) = self.open.get_mut(&number) {
            status.refused = refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_camera_that_failed_is_in_doubt_until_it_gives_pictures() {
        let mut cameras = Cameras::default();
        let (first, other) = (cameras.chosen(0), cameras.chosen(1));
        cameras.opened(0, "red".to_owned(), "640x360".to_owned(), "raw".to_owned());
        assert!(!first.is_doubtful());
        cameras.failed(0);
        assert!(first.is_doubtful() && !other.is_doubtful());
        assert_eq!(cameras.status(0), None, "it is closed");
        cameras.live(0);
        assert!(!first.is_doubtful());
    }
}
