//! How pictures get into an encoder: taken as they are where it can, copied where it cannot. What is decided
//! here of one picture, or before there is any, the rest of `media` carries out.
//!
//! ```text
//!              ┌─ a DMABuf, its lines where the encoder has them ─▶ taken as it is: no copy ─┐
//!  a picture ──┤                                                                              ├─▶ encoder that imports
//!              └─ any other, the slate's too ─▶ copied into a DMABuf of ours: 1 copy ─────────┘
//!  a picture ──── the way of the encoder's row: 1 copy, 2 with a conversion ─────────────────────▶ any other
//! ```
//! So an encoder that imports is given one kind of memory, whatever is on air, and no picture takes more copies
//! on its way than to one that does not.

use std::fmt;

/// How an encoder is given its pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// All of them in DMABufs, which it imports.
    Imported,
    /// In system memory; `because` it cannot be otherwise. `None`: its row knows of nothing better.
    Copied { because: Option<String> },
}

/// What is known of an encoder, the stream and the machine before any picture is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Whether the row's element can be told to import.
    pub(super) imports: bool,
    /// The stream's pixel format, and those that the element takes without a converter.
    pub(super) pixels: &'a str,
    pub(super) native: &'a [&'a str],
    /// Pixels in a line of what it is given, and the bytes of which its lines are a multiple.
    pub(super) width: u32,
    pub(super) stride: u32,
    /// Why DMABufs cannot be had for what is not in one; `None`: they can.
    pub(super) no_heap: Option<&'a str>,
    /// Why this stream has given it up.
    pub(super) refused: Option<&'a str>,
}

/// The way to take.
pub(super) fn way(facts: &Facts<'_>) -> Way {
    if !facts.imports {
        return Way::Copied { because: None };
    }
    let because = if let Some(refused) = facts.refused {
        format!("DMABufs were refused: {refused}")
    } else if !facts.native.contains(&facts.pixels) {
        format!("{} is converted first", facts.pixels)
    } else if !Layout::KNOWN.contains(&facts.pixels) {
        format!("it is not known how {} lies in a DMABuf", facts.pixels)
    } else if !facts.width.is_multiple_of(facts.stride) {
        format!("lines of {} pixels are no multiple of {} bytes", facts.width, facts.stride)
    } else if let Some(no_heap) = facts.no_heap {
        format!("the slate cannot be put into a DMABuf: {no_heap}")
    } else {
        return Way::Imported;
    };
    Way::Copied { because: Some(because) }
}

/// Where the lines of a picture are in its memory. Of formats in 4:2:0 with 8 bits, all planes in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) planes: Vec<Plane>,
    /// Bytes of the whole, from the first line on.
    pub(super) size: usize,
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) offset: usize,
    /// From one line to the next.
    pub(super) stride: i32,
}

/// The memory that a picture came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    System,
    /// In several pieces, some of which may be DMABufs.
    Pieces,
    /// In one DMABuf, with its lines there; `begins` so many bytes within it.
    DmaBuf {
        begins: usize,
        layout: Layout,
    },
}

/// What becomes of one picture before an encoder that imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    AsItIs,
    /// Copied, and why.
    Copied(Mismatch),
}

/// Why a picture cannot be taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    System,
    Pieces,
    Lines,
}

impl Layout {
    /// Formats of which it is known.
    pub(super) const KNOWN: [&'static str; 2] = ["NV12", "I420"];

    /// As an encoder's driver has it, which has told how many bytes a picture takes there. Its lines are as long
    /// as the picture's, and what it may have more of is lines: whole macroblocks.
    ///
    /// # Errors
    /// When the size has another reason, or more than one would explain it: in words.
    pub(super) fn of_encoder(pixels: &str, width: u32, height: u32, size: usize) -> Result<Layout, String> {
        let whole_blocks = height.next_multiple_of(MACROBLOCK);
        let mut lines: Vec<u32> = vec![height, whole_blocks];
        lines.dedup();
        let explains = |lines: &u32| {
            let least = Layout::packed(pixels, width, *lines).map_or(usize::MAX, |layout| layout.size);
            (least..least.saturating_add(PAGE)).contains(&size)
        };
        let mut explaining = lines.into_iter().filter(explains);
        match (explaining.next(), explaining.next()) {
            (Some(lines), None) => Layout::packed(pixels, width, lines)
                .ok_or_else(|| format!("it is not known how {pixels} lies in a DMABuf")),
            _ => Err(format!("{size} bytes for {width}×{height} in {pixels} leave open where its lines are")),
        }
    }

    /// With nothing between the lines, and nothing between the planes.
    fn packed(pixels: &str, width: u32, lines: u32) -> Option<Layout> {
        let (stride, lines) = (i32::try_from(width).ok()?, usize::try_from(lines).ok()?);
        let luma = usize::try_from(width).ok()? * lines;
        let at = |offset, stride| Plane { offset, stride };
        let planes = match pixels {
            "NV12" => vec![at(0, stride), at(luma, stride)],
            "I420" => vec![at(0, stride), at(luma, stride / 2), at(luma + luma / 4, stride / 2)],
            _ => return None,
        };
        Some(Layout { planes, size: luma + luma / 2 })
    }

    /// Whether an encoder with this layout can take a picture as it is.
    pub(super) fn admit(&self, picture: &Held) -> Admission {
        match picture {
            Held::System => Admission::Copied(Mismatch::System),
            Held::Pieces => Admission::Copied(Mismatch::Pieces),
            // A driver begins at the beginning: where within the memory a picture begins, V4L2's plain API
            // cannot say.
            Held::DmaBuf { begins: 0, layout }
                if layout.planes == self.planes && layout.size >= self.size =>
            {
                Admission::AsItIs
            }
            Held::DmaBuf { .. } => Admission::Copied(Mismatch::Lines),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mismatch::System => "it comes in system memory",
            Mismatch::Pieces => "it comes in several pieces of memory",
            Mismatch::Lines => "its lines lie otherwise than the encoder's",
        })
    }
}

/// Lines of a macroblock, of which drivers keep whole ones.
const MACROBLOCK: u32 = 16;

/// Bytes: what a driver may add to make memory whole pages.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const PI: Facts<'static> = Facts {
        imports: true,
        pixels: "NV12",
        native: &["NV12", "I420"],
        width: 1280,
        stride: 32,
        no_heap: None,
        refused: None,
    };

    #[test]
    fn each_reason_not_to_import_is_told() {
        assert_eq!(way(&PI), Way::Imported);
        assert_eq!(way(&Facts { imports: false, refused: Some("x"), ..PI }), Way::Copied { because: None });
        let because = |facts: Facts<'_>| match way(&facts) {
            Way::Copied { because: Some(because) } => because,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            because(Facts { refused: Some("v4l2h264enc0: no"), ..PI }),
            "DMABufs were refused: v4l2h264enc0: no"
        );
        assert_eq!(because(Facts { pixels: "YUY2", ..PI }), "YUY2 is converted first");
        assert_eq!(because(Facts { width: 854, ..PI }), "lines of 854 pixels are no multiple of 32 bytes");
        assert_eq!(
            because(Facts { no_heap: Some("there is no /dev/dma_heap"), ..PI }),
            "the slate cannot be put into a DMABuf: there is no /dev/dma_heap"
        );
        let odd = Facts { pixels: "UYVY", native: &["UYVY"], ..PI };
        assert_eq!(because(odd), "it is not known how UYVY lies in a DMABuf");
    }

    #[test]
    fn a_drivers_size_tells_where_its_lines_are_or_nothing_does() {
        let full_hd = Layout::of_encoder("NV12", 1920, 1080, 1920 * 1088 * 3 / 2).unwrap();
        assert_eq!(full_hd.planes[1], Plane { offset: 1920 * 1088, stride: 1920 });
        let packed = Layout::of_encoder("NV12", 1920, 1080, 1920 * 1080 * 3 / 2).unwrap();
        assert_eq!(packed.planes[1].offset, 1920 * 1080);
        let in_pages = Layout::of_encoder("I420", 640, 360, (640 * 360 * 3usize / 2).next_multiple_of(4096));
        let planes = [(0, 640), (640 * 360, 320), (640 * 360 * 5 / 4, 320)];
        let planes = planes.map(|(offset, stride)| Plane { offset, stride });
        assert_eq!(in_pages.unwrap().planes, planes);

        for (width, height, size) in [
            (1920, 1080, 2048 * 1080 * 3 / 2), // longer lines
            (1280, 720, 1280 * 720 * 3 / 2 - 1),
            (1280, 720, 1280 * 736 * 3 / 2), // more lines than whole macroblocks
            (64, 62, 64 * 62 * 3 / 2 + 4000), // pages, or macroblocks
            (1280, 720, 0),
        ] {
            let told = Layout::of_encoder("NV12", width, height, size).unwrap_err();
            assert!(told.contains(&size.to_string()), "{told}");
        }
    }

    #[test]
    fn no_longer_line_passes_for_more_lines_in_any_usual_mode() {
        for (width, height) in
            [(640, 360), (640, 480), (1024, 576), (1280, 720), (1280, 960), (1920, 1080), (1920, 1200)]
        {
            for stride in (width + 1..=width * 2).filter(|stride| stride % PI.stride == 0) {
                for lines in [height, u32::next_multiple_of(height, 16)] {
                    let size = usize::try_from(stride * lines * 3 / 2).unwrap();
                    let taken = Layout::of_encoder("NV12", width, height, size);
                    assert!(taken.is_err(), "{width}×{height} with lines of {stride} bytes: {taken:?}");
                }
            }
        }
    }

    #[test]
    fn only_what_lies_as_in_the_encoder_is_taken_as_it_is() {
        let encoder = Layout::of_encoder("NV12", 640, 360, 640 * 360 * 3 / 2).unwrap();
        let held = |begins, layout: &Layout| Held::DmaBuf { begins, layout: layout.clone() };
        assert_eq!(encoder.admit(&held(0, &encoder)), Admission::AsItIs);
        let larger = Layout { size: encoder.size + 4096, ..encoder.clone() };
        assert_eq!(encoder.admit(&held(0, &larger)), Admission::AsItIs);

        let smaller = Layout { size: encoder.size - 1, ..encoder.clone() };
        let blocks = Layout::of_encoder("NV12", 640, 360, 640 * 368 * 3 / 2).unwrap();
        let planar = Layout::of_encoder("I420", 640, 360, 640 * 360 * 3 / 2).unwrap();
        for other in [held(0, &smaller), held(0, &blocks), held(0, &planar), held(64, &encoder)] {
            assert_eq!(encoder.admit(&other), Admission::Copied(Mismatch::Lines), "{other:?}");
        }
        assert_eq!(encoder.admit(&Held::System), Admission::Copied(Mismatch::System));
        assert_eq!(encoder.admit(&Held::Pieces), Admission::Copied(Mismatch::Pieces));
    }
}
