//! Every capture device that is there, with the names that it keeps when it is plugged in again.

use std::fs;
use std::path::{Path, PathBuf};

/// A capture device as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub node: PathBuf,
    /// As its driver calls it.
    pub name: String,
    pub driver: String,
    /// By its serial number: `video.device = "by-id:…"`.
    pub by_id: Option<String>,
    /// By the socket that it is plugged into: `video.device = "by-path:…"`.
    pub by_path: Option<String>,
}

/// All capture devices, by the number of their nodes. Asks their drivers, which may take a moment.
pub fn devices() -> Vec<Device> {
    let mut nodes = super::numbered_nodes();
    nodes.sort();
    let device = |(_, node): (u32, PathBuf)| {
        let capabilities = super::capabilities(&node)?;
        let (by_id, by_path) = (alias(super::BY_ID, &node), alias(super::BY_PATH, &node));
        Some(Device { node, name: capabilities.card, driver: capabilities.driver, by_id, by_path })
    };
    nodes.into_iter().filter_map(device).collect()
}

/// The name of the link in `directory` that leads to `node`.
fn alias(directory: impl AsRef<Path>, node: &Path) -> Option<String> {
    let leads_there = |link: &fs::DirEntry| fs::canonicalize(link.path()).is_ok_and(|target| target == node);
    let links = fs::read_dir(directory).ok()?; // missing where udev or a device with such a name is
    let mut names: Vec<String> = links
        .filter_map(Result::ok)
        .filter(leads_there)
        .filter_map(|link| link.file_name().into_string().ok())
        .collect();
    names.sort(); // of several, always the same
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_device_keeps_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let node = fs::canonicalize(directory.path()).unwrap().join("video4");
        fs::write(&node, "").unwrap();
        let links = directory.path().join("by-id");
        fs::create_dir(&links).unwrap();
        symlink("../video4", links.join("usb-Cam_0001-video-index0")).unwrap();
        symlink("../video5", links.join("usb-Other-video-index0")).unwrap();
        assert_eq!(alias(&links, &node).as_deref(), Some("usb-Cam_0001-video-index0"));
        assert_eq!(alias(&links, Path::new("/dev/video6")), None);
        assert_eq!(alias("/no/such/directory", &node), None);
    }
}
