//! Cameras that are plugged in and out, as `/dev` shows it: by the kernel's messages about its folders, with a look
//! now and then in case one was lost. udev is not asked: it may not be there.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep_until;

use super::changes::{Changes, Settling, Snapshot};
use super::{BY_ID, BY_PATH, BY_V4L, ioctl};

/// Watches the video devices below one folder. Belongs to a tokio runtime.
#[derive(Debug)]
pub struct HotPlug {
    dev: PathBuf,
    /// `None` where the kernel gives none.
    messages: Option<AsyncFd<OwnedFd>>,
    settling: Settling,
}

impl HotPlug {
    /// Of this machine, from now on.
    pub fn new() -> HotPlug {
        HotPlug::below(Path::new("/dev"))
    }

    fn below(dev: &Path) -> HotPlug {
        let messages = messages().inspect_err(|error| {
            log::warn!(error:%; "no messages about devices that are plugged in: they are looked for instead");
        });
        let messages = messages.ok();
        let settling = Settling::new(Instant::now(), Snapshot::new(), messages.is_some());
        let mut hot_plug = HotPlug { dev: dev.to_owned(), messages, settling };
        hot_plug.watch();
        // After that, so that nothing comes in between unseen.
        hot_plug.settling.look(Instant::now(), snapshot(dev));
        hot_plug
    }

    /// The next changes, half a second after they began at the latest. Cancel safe: what was not told yet is told
    /// by the next call.
    pub async fn next(&mut self) -> Changes {
        loop {
            tokio::select! {
                () = sleep_until(self.settling.next_deadline().into()) => {
                    self.watch(); // folders may have come
                    let changes = self.settling.look(Instant::now(), snapshot(&self.dev));
                    if !changes.is_empty() {
                        return changes;
                    }
                }
                stirred = stirred(self.messages.as_ref()) => match stirred {
                    Ok(true) => self.settling.stir(Instant::now()),
                    Ok(false) => {}
                    Err(error) => {
                        log::warn!(error:%; "messages about devices have ended: they are looked for instead");
                        self.messages = None;
                        self.settling = Settling::new(Instant::now(), snapshot(&self.dev), false);
                    }
                },
            }
        }
    }

    /// Asks for messages about every folder that is there; about one that was asked for already that is none.
    fn watch(&self) {
        let Some(messages) = &self.messages else { return };
        for folder in ["", BY_V4L, BY_ID, BY_PATH] {
            match inotify::add_watch(messages.get_ref(), self.dev.join(folder), WATCHED) {
                Ok(_) | Err(Errno::NOENT) => {} // those of udev come with the first camera
                Err(error) => log::debug!(folder, error:%; "no messages about a folder of devices"),
            }
        }
    }
}

impl Default for HotPlug {
    fn default() -> HotPlug {
        HotPlug::new()
    }
}

fn messages() -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    ioctl::awaited(descriptor)
}

/// Waits for messages and reads them all; whether one was about a video device.
async fn stirred(messages: Option<&AsyncFd<OwnedFd>>) -> io::Result<bool> {
    let Some(messages) = messages else { return std::future::pending().await };
    let mut ready = messages.readable().await?;
    let mut buffer = [MaybeUninit::uninit(); MESSAGES];
    let mut reader = inotify::Reader::new(messages.get_ref(), &mut buffer);
    let mut is_ours = false;
    loop {
        match reader.next() {
            // Without a name it is about the folder itself, or the queue was full.
            Ok(message) => {
                is_ours |= message.file_name().is_none_or(|name| is_about_video(name.to_bytes()));
            }
            Err(Errno::WOULDBLOCK) => {
                ready.clear_ready();
                return Ok(is_ours);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A node, udev's folder, a folder in it, or a link in one of these, which ends in `-video-index0`.
fn is_about_video(name: &[u8]) -> bool {
    const OURS: [&[u8]; 3] = [b"video", b"v4l", b"by-"];
    OURS.iter().any(|beginning| name.starts_with(beginning)) || name.windows(7).any(|part| part == b"-video-")
}

/// The nodes, marked by what makes each another one or lets us open it; the links by where they lead.
fn snapshot(dev: &Path) -> Snapshot {
    let mut seen = Snapshot::new();
    for folder in ["", BY_ID, BY_PATH] {
        let Ok(entries) = fs::read_dir(dev.join(folder)) else { continue }; // udev's are not always there
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let is_node = entry.file_name().to_str().is_some_and(|name| name.starts_with("video"));
            let mark = match fs::read_link(&path) {
                Ok(target) => Some(target.display().to_string()),
                Err(_) if is_node => fs::metadata(&path)
                    .ok()
                    .map(|node| format!("{} {} {} {}", node.ino(), node.mode(), node.uid(), node.gid())),
                Err(_) => None,
            };
            if let Some(mark) = mark.filter(|_| is_node || !folder.is_empty()) {
                seen.insert(path, mark);
            }
        }
    }
    seen
}

/// ATTRIB is udev's leave to open a node.
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB);

/// Bytes: some dozens of messages at a time.
const MESSAGES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Of a camera; longer than it takes, shorter than the look without messages.
    const SOON: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn a_camera_comes_with_its_names_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let dev = fs::canonicalize(directory.path()).unwrap();
        fs::write(dev.join("video0"), "").unwrap();
        let mut hot_plug = HotPlug::below(&dev);

        fs::write(dev.join("video3"), "").unwrap();
        let changes = timeout(SOON, hot_plug.next()).await.expect("told soon");
        assert_eq!(changes, Changes { appeared: vec![dev.join("video3")], gone: Vec::new() });

        // udev's folders come with the first link.
        fs::create_dir_all(dev.join(BY_ID)).unwrap();
        timeout(Duration::from_millis(300), hot_plug.next()).await.expect_err("folders are no devices");
        let link = dev.join(BY_ID).join("usb-C920-video-index0");
        symlink("../../video3", &link).unwrap();
        let changes = timeout(SOON, hot_plug.next()).await.expect("told soon");
        assert_eq!(changes, Changes { appeared: vec![link.clone()], gone: Vec::new() });

        fs::remove_file(&link).unwrap();
        symlink("../../video0", &link).unwrap();
        let changes = timeout(SOON, hot_plug.next()).await.expect("told soon");
        assert_eq!((changes.appeared, changes.gone), (vec![link.clone()], vec![link]), "it is another's now");

        fs::remove_file(dev.join("video3")).unwrap();
        let changes = timeout(SOON, hot_plug.next()).await.expect("told soon");
        assert_eq!(changes, Changes { appeared: Vec::new(), gone: vec![dev.join("video3")] });
    }

    #[tokio::test]
    async fn other_devices_are_no_news() {
        let directory = tempfile::tempdir().unwrap();
        let mut hot_plug = HotPlug::below(directory.path());
        fs::write(directory.path().join("ttyUSB0"), "").unwrap();
        timeout(Duration::from_millis(400), hot_plug.next()).await.expect_err("no camera");
    }

    #[tokio::test]
    async fn what_a_message_was_lost_of_is_found_by_looking() {
        let directory = tempfile::tempdir().unwrap();
        let mut hot_plug = HotPlug::below(directory.path());
        hot_plug.messages = None;
        hot_plug.settling = Settling::new(Instant::now(), Snapshot::new(), false);
        fs::write(directory.path().join("video1"), "").unwrap();
        let changes = timeout(SOON, hot_plug.next()).await.expect("told by the next look");
        assert_eq!(changes.appeared.len(), 1);
    }
}
