//! Before an encoder that imports: each picture that it is given is in a DMABuf and lies there as in its own buffers.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gst::prelude::*;
use gst_allocators::DmaBufMemory;
use gst_video::{VideoInfo, VideoMeta};

use super::super::error::Error;
use super::super::graph;
use super::super::heap::{self, Heap};
use super::super::memory::{Admission, Held, Layout, Plane};

/// How an element is told to take DMABufs as they are: a property of it, and the value.
#[derive(Clone, Copy)]
pub(in crate::media) struct Import {
    pub(super) property: &'static str,
    pub(super) value: &'static str,
}

/// Stands before one element.
pub(super) struct Importer {
    heap: Heap,
    agreed: OnceLock<Agreed>,
    newest: Mutex<Option<Admission>>,
}

/// What the element was asked when it had its format.
struct Agreed {
    info: VideoInfo,
    layout: Layout,
}

impl Importer {
    /// From now on what comes to `element` is in DMABufs. It is [agreed](Importer::agree) on how before the first
    /// picture comes.
    pub(super) fn install(heap: Heap, element: &gst::Element) -> Arc<Importer> {
        let importer = Arc::new(Importer { heap, agreed: OnceLock::new(), newest: Mutex::new(None) });
        let (doorkeeper, element_of) = (importer.clone(), element.downgrade());
        graph::pad(element, "sink").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(picture) = info.buffer() else { return gst::PadProbeReturn::Ok };
            match doorkeeper.admit(picture) {
                Ok(None) => gst::PadProbeReturn::Ok,
                Ok(Some(copy)) => {
                    info.data = Some(gst::PadProbeData::Buffer(copy));
                    gst::PadProbeReturn::Ok
                }
                Err(error) => {
                    if let Some(element) = element_of.upgrade() {
                        gst::element_error!(element, gst::ResourceError::NoSpaceLeft, ["{error}"]);
                    }
                    gst::PadProbeReturn::Handled
                }
            }
        });
        importer
    }

    /// Asks the element, which has its format by now, how pictures lie in its buffers.
    ///
    /// # Errors
    /// When it does not say, or lets more than one answer be.
    pub(super) fn agree(&self, element: &gst::Element) -> Result<(), Error> {
        let unavailable =
            |reason: String| Error::Unavailable { what: "a picture without a copy".to_owned(), reason };
        let entry = graph::pad(element, "sink");
        let caps = entry.current_caps().ok_or_else(|| unavailable("the encoder has no format".to_owned()))?;
        let info = VideoInfo::from_caps(&caps).map_err(|error| unavailable(error.to_string()))?;
        let mut query = gst::query::Allocation::new(Some(&caps), false);
        let answered = entry.query(&mut query);
        let size = query.allocation_pools().next().map(|(_, size, ..)| size).filter(|_| answered);
        let size = size.and_then(|size| usize::try_from(size).ok());
        let size =
            size.ok_or_else(|| unavailable("the encoder does not tell its buffers' size".to_owned()))?;
        let layout =
            Layout::of_encoder(info.name(), info.width(), info.height(), size).map_err(unavailable)?;
        // Asked once; a second answer would be the same.
        self.agreed.get_or_init(|| Agreed { info, layout });
        Ok(())
    }

    /// What became of the newest picture; `None` before the first.
    pub(super) fn newest(&self) -> Option<Admission> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The copy to take in its place; `None`: it is taken as it is.
    fn admit(&self, picture: &gst::Buffer) -> Result<Option<gst::Buffer>, heap::Error> {
        let Some(Agreed { info, layout }) = self.agreed.get() else { return Ok(None) };
        let admission = layout.admit(&held(picture, info));
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(admission);
        match admission {
            Admission::AsItIs => Ok(None),
            Admission::Copied(_) => self.heap.copy(picture, info, layout).map(Some),
        }
    }
}

/// The memory that a picture of that format is in.
fn held(picture: &gst::BufferRef, info: &VideoInfo) -> Held {
    if picture.n_memory() > 1 {
        return Held::Pieces;
    }
    let memory = match picture.n_memory() {
        0 => return Held::System,
        _ => picture.peek_memory(0),
    };
    if memory.downcast_memory_ref::<DmaBufMemory>().is_none() {
        return Held::System;
    }
    let (offsets, strides) = match picture.meta::<VideoMeta>() {
        Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    let planes = offsets.into_iter().zip(strides).map(|(offset, stride)| Plane { offset, stride }).collect();
    // What the encoder reads is the memory, not the part of it that is the picture: vb2 wants all that a buffer of
    // its own has.
    Held::DmaBuf { begins: memory.offset(), layout: Layout { planes, size: memory.maxsize() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_dmabuf_is_told_apart() {
        gst::init().unwrap();
        let info = VideoInfo::builder(gst_video::VideoFormat::Nv12, 64, 64).build().unwrap();
        let mut picture = gst::Buffer::with_size(info.size()).unwrap();
        assert_eq!(held(&picture, &info), Held::System);
        picture.get_mut().unwrap().append_memory(gst::Memory::with_size(4096));
        assert_eq!(held(&picture, &info), Held::Pieces);
        assert_eq!(held(&gst::Buffer::new(), &info), Held::System);
    }
}
