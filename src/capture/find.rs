//! The device that the configuration means, among those that are there.
//!
//! Names are looked up first and devices opened then, and between the two a camera may go and another take
//! its number. So what was opened is looked at, and so is the name once more: from then on the number is safe,
//! because the device is open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::device::Opened;
use super::identity::Identity;
use super::{BY_ID, BY_PATH, Error};
use crate::config::VideoDevice;

/// What is remembered of a source's camera: which one `auto` has come to mean, and whether it is in doubt. Clones
/// share it: one a source.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    camera: Arc<Mutex<Option<Identity>>>,
    is_doubtful: Arc<AtomicBool>,
}

impl Chosen {
    /// From now on `auto` may mean any camera.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    /// It has failed, or has given pictures since.
    pub fn doubt(&self, is_doubtful: bool) {
        self.is_doubtful.store(is_doubtful, Ordering::Relaxed);
    }

    /// Whether it has failed since it gave a picture last.
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Identity>> {
        self.camera.lock().unwrap_or_else(PoisonError::into_inner) // each change of it is whole
    }
}

/// Opens the device that `wanted` means just now.
///
/// # Errors
/// When it is not there, or what is there is not it; then it is left alone.
pub fn open(wanted: &VideoDevice, chosen: &Chosen) -> Result<Opened, Error> {
    let mut chosen = chosen.lock();
    let opened = open_below(Path::new("/dev"), wanted, chosen.as_ref(), Opened::open)?;
    if *wanted == VideoDevice::Auto {
        *chosen = Some(opened.identity().clone());
    }
    Ok(opened)
}

/// What can be told apart once it is open.
trait Identified {
    fn identity(&self) -> &Identity;
}

impl Identified for Opened {
    fn identity(&self) -> &Identity {
        Opened::identity(self)
    }
}

/// As [`open`], among the devices below `dev`.
fn open_below<T: Identified>(
    dev: &Path,
    wanted: &VideoDevice,
    chosen: Option<&Identity>,
    open: impl Fn(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    match wanted {
        VideoDevice::Auto => open_any(dev, chosen, open),
        VideoDevice::Node(node) if node.exists() => open(node),
        VideoDevice::Node(node) => Err(Error::Absent { path: node.clone() }),
        VideoDevice::ById(name) => {
            open_link(&dev.join(BY_ID).join(name), open, |identity| identity.is_named(name))
        }
        VideoDevice::ByPath(name) => {
            open_link(&dev.join(BY_PATH).join(name), open, |identity| identity.is_at(name))
        }
    }
}

fn open_link<T: Identified>(
    link: &Path,
    open: impl Fn(&Path) -> Result<T, Error>,
    is_it: impl Fn(&Identity) -> bool,
) -> Result<T, Error> {
    let absent = |_: io::Error| Error::Absent { path: link.to_owned() };
    let node = fs::canonicalize(link).map_err(absent)?;
    let opened = open(&node)?;
    let is_still = fs::canonicalize(link).map_err(absent)? == node;
    if is_still && is_it(opened.identity()) {
        Ok(opened)
    } else {
        let found = opened.identity().described();
        Err(Error::Another { path: link.to_owned(), found })
    }
}

/// The first that gives pictures; once one was chosen, that one: where it was, else wherever it is.
fn open_any<T: Identified>(
    dev: &Path,
    chosen: Option<&Identity>,
    open: impl Fn(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut elsewhere = Vec::new();
    let mut refused = None;
    for node in nodes(dev)? {
        match (open(&node), chosen) {
            (Ok(opened), None) => return Ok(opened),
            (Ok(opened), Some(chosen)) if opened.identity().is_in_place(chosen) => return Ok(opened),
            (Ok(opened), Some(chosen)) if opened.identity().is(chosen) => elsewhere.push(opened),
            (Ok(_), Some(_)) | (Err(Error::NotCapture { .. }), _) => {}
            (Err(error), _) => refused = Some(error), // it may be the one
        }
    }
    // Two of a kind without serial numbers: which of them it was cannot be told.
    if elsewhere.len() == 1
        && let Some(opened) = elsewhere.pop()
    {
        return Ok(opened);
    }
    Err(match (refused, chosen) {
        (Some(error), _) => error,
        (None, Some(chosen)) => Error::Away { camera: chosen.described() },
        (None, None) => Error::None,
    })
}

/// `dev/videoN`, by their numbers. Listed here and not by the v4l crate, which panics on names without one.
pub(super) fn nodes(dev: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = |source| Error::List { directory: dev.to_owned(), source };
    let mut nodes = Vec::new();
    for entry in fs::read_dir(dev).map_err(list)? {
        let entry = entry.map_err(list)?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_prefix("video")?.parse::<u32>().ok()) {
            nodes.push((number, entry.path()));
        }
    }
    nodes.sort();
    Ok(nodes.into_iter().map(|(_, node)| node).collect())
}

#[cfg(test)]
mod tests;
