//! A camera that is closed gives back all that it held, with a GStreamer that would keep it for good.
//!
//! GStreamer 1.22.0 takes a reference to the pool of a device's buffers when it stops the device, and never gives it
//! back where the driver lets the pool be *orphaned*, that is left behind with buffers that are still in use, as all
//! drivers do since Linux 4.20 (`gst_v4l2_object_stop`; later versions give it back). Five descriptors and 77 kB
//! stay behind with each camera that is closed, and as much with each V4L2 encoder. Told by `GST_V4L2_FORCE_DRAIN`
//! it orphans no pool, and keeps none.
//!
//! That has a price: a device is busy until all its buffers have come home. Pictures that nothing converts are
//! encoded from these, which takes a moment, and the next attempt to open the camera comes after it. What is kept
//! for longer leaves the device's memory first.
#![allow(unsafe_code)] // the environment is shared by all threads, and its setter relies on there being one

use std::{env, fs};

/// Has GStreamer give back what it holds of V4L2 devices. Comes before the process's second thread; false where
/// it comes too late for that: then nothing is changed.
#[must_use]
pub fn give_devices_back() -> bool {
    if gst::version() >= MENDED || is_draining() {
        return true;
    }
    let is_alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if is_alone {
        // SAFETY: this thread is the only one: no other reads or writes the environment while it is changed.
        #[expect(
            clippy::disallowed_methods,
            reason = "nobody else reads it yet, and g_getenv has no other ear"
        )]
        unsafe {
            env::set_var(FORCE_DRAIN, "1");
        }
    }
    is_alone
}

fn is_draining() -> bool {
    env::var_os(FORCE_DRAIN).is_some()
}

/// Has a picture be in memory of our own, where it is in a device's.
pub(super) fn leave_device(picture: &mut gst::Buffer) {
    let is_devices = |memory: &gst::MemoryRef| DEVICE_MEMORY.iter().any(|kind| memory.is_type(*kind));
    if !picture.iter_memories().any(is_devices) {
        return;
    }
    match picture.copy_deep() {
        Ok(copy) => *picture = copy,
        Err(error) => log::warn!(error:%; "a camera's picture cannot be copied: its device stays in use"),
    }
}

/// Read by GStreamer whenever it stops a device.
const FORCE_DRAIN: &str = "GST_V4L2_FORCE_DRAIN";

/// 1.22.0 is what leaks; the sources of some later version have it right, and no release notes say from which on.
/// Draining does no harm in between.
const MENDED: (u32, u32, u32, u32) = (1, 24, 0, 0);

/// What v4l2src gives: GST_ALLOCATOR_DMABUF, and GST_V4L2_MEMORY_TYPE.
const DEVICE_MEMORY: [&str; 2] = ["dmabuf", "V4l2Memory"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_threads_the_environment_stays_as_it_is() {
        gst::init().unwrap();
        let told = is_draining();
        let is_safe = std::thread::spawn(give_devices_back).join().unwrap();
        assert_eq!(is_safe, told || gst::version() >= MENDED, "the test's own threads make two at least");
        assert_eq!(is_draining(), told);
    }
}
