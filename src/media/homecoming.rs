//! A camera that is closed gives back all that it held, with a GStreamer that would keep it for good.
//!
//! GStreamer 1.22.0 takes a reference to the pool of a device's buffers when it stops the device, and never gives it
//! back where the driver lets the pool be *orphaned*, that is left behind with buffers that are still in use, as all
//! drivers do since Linux 4.20 (`gst_v4l2_object_stop`; later versions give it back). Five descriptors and 77 kB
//! stay behind with each camera that is closed, and as much with each V4L2 encoder. Told by `GST_V4L2_FORCE_DRAIN`
//! it orphans no pool, and keeps none.
//!
//! That has a price: a device can only be opened again once all its buffers have come home. So none leaves its camera's
//! pipeline: a picture that nothing there converted is copied at its end.
#![allow(unsafe_code)] // the environment is shared by all threads, and its setter relies on there being one

use std::{env, fs};

use gst::prelude::*;

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

/// Whether a device's buffers have to come home before it can be opened again.
pub(super) fn is_draining() -> bool {
    env::var_os(FORCE_DRAIN).is_some()
}

/// Has pictures that are in a device's memory be copied on this pad.
pub(super) fn copy_from_devices(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        let Some(picture) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        if picture.iter_memories().all(|memory| memory.is_type(SYSTEM_MEMORY)) {
            return gst::PadProbeReturn::Ok;
        }
        match picture.copy_deep() {
            Ok(copy) => *picture = copy,
            Err(error) => {
                log::warn!(error:%; "a camera's picture is left out: it cannot be copied");
                return gst::PadProbeReturn::Handled;
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Read by GStreamer whenever it stops a device.
const FORCE_DRAIN: &str = "GST_V4L2_FORCE_DRAIN";

/// 1.22.0 is what leaks; the sources of some later version have it right, and no release notes say from which on.
/// Draining does no harm in between.
const MENDED: (u32, u32, u32, u32) = (1, 24, 0, 0);

/// GST_ALLOCATOR_SYSMEM: where everything is that no device has given.
const SYSTEM_MEMORY: &str = "SystemMemory";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::graph::{self, Graph};

    #[test]
    fn with_threads_the_environment_stays_as_it_is() {
        gst::init().unwrap();
        let told = is_draining();
        let is_safe = std::thread::spawn(give_devices_back).join().unwrap();
        assert_eq!(is_safe, told || gst::version() >= MENDED, "the test's own threads make two at least");
        assert_eq!(is_draining(), told);
    }

    #[test]
    fn pictures_in_foreign_memory_are_copied_and_others_are_not() {
        gst::init().unwrap();
        let foreign = gst::Buffer::from_mut_slice(vec![7_u8; 64]); // Rust's allocator stands for a driver's
        let mut own = gst::Buffer::with_size(64).unwrap();
        own.make_mut().set_pts(gst::ClockTime::from_mseconds(40));
        assert!(!foreign.peek_memory(0).is_type(SYSTEM_MEMORY));

        let passed = through_probe([foreign.clone(), own.clone()]);
        assert!(passed[0].peek_memory(0).is_type(SYSTEM_MEMORY));
        assert_eq!(passed[0].map_readable().unwrap().as_slice(), &[7; 64]);
        assert_eq!(passed[1].as_ptr(), own.as_ptr(), "the very same");
    }

    fn through_probe(buffers: [gst::Buffer; 2]) -> Vec<gst::Buffer> {
        let source = gst_app::AppSrc::builder().format(gst::Format::Time).build();
        let sink = gst_app::AppSink::builder().sync(false).build();
        copy_from_devices(&graph::pad(sink.upcast_ref(), "sink"));
        let graph = Graph::new("copies");
        graph.chain(&[source.upcast_ref(), sink.upcast_ref()]).unwrap();
        graph.play(gst::ClockTime::ZERO).unwrap();
        for buffer in buffers {
            source.push_buffer(buffer).unwrap();
        }
        let pulled = std::iter::from_fn(|| sink.try_pull_sample(gst::ClockTime::from_seconds(10)));
        pulled.take(2).map(|sample| sample.buffer_owned().unwrap()).collect()
    }
}
