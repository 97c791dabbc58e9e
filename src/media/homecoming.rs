//! A camera that is closed leaves nothing behind. Two things would stay otherwise.
//!
//! **The device's buffers.** GStreamer 1.22.0 takes a reference to the pool of a device's buffers when it stops the
//! device, and never gives it back where the driver lets the pool be *orphaned*, that is left behind with buffers
//! that are still in use, as all drivers do since Linux 4.20 (`gst_v4l2_object_stop`; later versions give it back).
//! Five descriptors and 77 kB stay behind with each camera that is closed, and as much with each V4L2 encoder. Told
//! by `GST_V4L2_FORCE_DRAIN` it orphans no pool, and keeps none. That has a price: a device is busy until all its
//! buffers have come home. Pictures that nothing converts are encoded from these, which takes a moment, and the next
//! attempt to open the camera comes after it. What is kept for longer leaves the device's memory first.
//!
//! **The room of pictures.** Each capture has threads of its own, and glibc keeps what was freed for the arena of the
//! thread that asked for it: after fifty captures the room of some thirty small pictures, in eight arenas. With few
//! arenas and pictures outside of them the room goes back to the system.
#![allow(unsafe_code)] // what the C library is told relies on the process's having one thread

use super::process::Alone;

/// Has all be given back that a closed camera held.
pub(super) fn leave_nothing_behind(process: &Alone) {
    if gst::version() < MENDED {
        process.set(FORCE_DRAIN, "1");
    }
    return_room();
}

#[cfg(target_env = "gnu")]
fn return_room() {
    use std::ffi::c_int;

    // SAFETY: that is how <malloc.h> declares it; it takes any numbers, and this thread is the only one.
    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    for (parameter, value) in [(M_MMAP_THRESHOLD, LARGE), (M_ARENA_MAX, ARENAS)] {
        if mallopt(parameter, value) == 0 {
            eprintln!("mallopt({parameter}, {value}) is refused: memory may grow for a while");
        }
    }
}

#[cfg(not(target_env = "gnu"))]
fn return_room() {}

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

/// From <malloc.h>.
#[cfg(target_env = "gnu")]
const M_MMAP_THRESHOLD: i32 = -3;
#[cfg(target_env = "gnu")]
const M_ARENA_MAX: i32 = -8;

/// Bytes: glibc's own value at its start, which stays so once it was told. The smallest picture has more.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 128 << 10;

/// What is asked for often comes from GStreamer's own pools: two are enough.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// What v4l2src gives: GST_ALLOCATOR_DMABUF, and GST_V4L2_MEMORY_TYPE.
const DEVICE_MEMORY: [&str; 2] = ["dmabuf", "V4l2Memory"];
