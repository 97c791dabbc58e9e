//! As much of the elementary streams as counting frames takes.

use super::tables::Codec;

/// Finds random access points in a video stream in Annex B form, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct NalScanner {
    codec: Codec,
    /// Zero bytes seen in a row, at most 2.
    zeros: u8,
    /// The last three bytes were 0, 0, 1: a NAL unit's header follows.
    at_header: bool,
}

impl NalScanner {
    pub fn new(codec: Codec) -> Self {
        NalScanner { codec, zeros: 0, at_header: false }
    }

    /// Whether a NAL unit that allows decoding to start begins in these bytes.
    pub fn key_begins(&mut self, bytes: &[u8]) -> bool {
        let mut found = false;
        for byte in bytes {
            if self.at_header {
                found |= self.is_key(*byte);
            }
            self.at_header = self.zeros == 2 && *byte == 1;
            self.zeros = if *byte == 0 { (self.zeros + 1).min(2) } else { 0 };
        }
        found
    }

    fn is_key(&self, header: u8) -> bool {
        match self.codec {
            // IDR (Rec. ITU-T H.264, table 7-1).
            Codec::H264 => header & 0x1f == 5,
            // BLA, IDR and CRA (Rec. ITU-T H.265, table 7-1).
            Codec::H265 => (16..=21).contains(&((header >> 1) & 0x3f)),
            Codec::Aac | Codec::Opus | Codec::OtherVideo | Codec::OtherAudio | Codec::Other(_) => false,
        }
    }
}

/// Counts the frames of a sound stream, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct FrameCounter {
    framing: Framing,
    /// What has come of the header that is being read.
    header: Vec<u8>,
    /// Bytes of the current frame still to come.
    rest: usize,
    frames: u64,
    errors: u64,
}

/// How frames tell their size.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// AAC behind ADTS headers (ISO/IEC 13818-7, 6.2).
    Adts,
    /// Opus behind control headers (Xiph's "Opus in MPEG-TS").
    Opus,
    /// Of other codecs none are counted.
    Unknown,
}

/// What the beginning of a frame says.
enum Header {
    /// It goes on.
    Incomplete,
    /// The frame has so many bytes more.
    Complete(usize),
    Wrong,
}

impl FrameCounter {
    pub fn new(codec: Codec) -> FrameCounter {
        let framing = match codec {
            Codec::Aac => Framing::Adts,
            Codec::Opus => Framing::Opus,
            Codec::H264 | Codec::H265 | Codec::OtherVideo | Codec::OtherAudio | Codec::Other(_) => {
                Framing::Unknown
            }
        };
        FrameCounter { framing, header: Vec::new(), rest: 0, frames: 0, errors: 0 }
    }

    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = &bytes[skipped..];
            let Some((next, left)) = bytes.split_first() else { return };
            self.header.push(*next);
            bytes = left;
            match self.framing.read(&self.header) {
                Header::Incomplete => continue,
                Header::Complete(rest) => {
                    self.frames += 1;
                    self.rest = rest;
                }
                Header::Wrong => {
                    self.errors += 1;
                    // Nothing is readable until the next PES packet starts over.
                    self.rest = usize::MAX;
                }
            }
            self.header.clear();
        }
    }

    /// Starts over with the next bytes, which begin with a frame.
    pub fn restart(&mut self) {
        self.header.clear();
        self.rest = 0;
    }

    /// Frames begun.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Places where a frame should have begun and did not.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

impl Framing {
    fn read(self, header: &[u8]) -> Header {
        match self {
            Framing::Adts => match <[u8; ADTS_HEADER_BYTES]>::try_from(header) {
                Ok(header) => adts(header),
                Err(_) => Header::Incomplete,
            },
            Framing::Opus => opus(header),
            Framing::Unknown => Header::Complete(usize::MAX),
        }
    }
}

fn adts(header: [u8; ADTS_HEADER_BYTES]) -> Header {
    let [a, b, _, c, d, e, _] = header.map(usize::from);
    let length = (c & 3) << 11 | d << 3 | e >> 5;
    if a == 0xff && b & 0xf6 == 0xf0 && length >= ADTS_HEADER_BYTES {
        Header::Complete(length - ADTS_HEADER_BYTES)
    } else {
        Header::Wrong
    }
}

fn opus(header: &[u8]) -> Header {
    let [prefix, flags, sizes @ ..] = header else { return Header::Incomplete };
    // 11 bits of prefix, then whether there is trimming at either end and an extension: ours has none.
    if *prefix != 0x7f || flags & 0xfc != 0xe0 {
        return Header::Wrong;
    }
    match sizes.last() {
        None | Some(0xff) => Header::Incomplete,
        Some(_) => match sizes.iter().map(|size| usize::from(*size)).sum() {
            size if (1..=OPUS_PACKET_BYTES).contains(&size) => Header::Complete(size),
            _ => Header::Wrong,
        },
    }
}

/// Without the optional checksum.
const ADTS_HEADER_BYTES: usize = 7;

/// The largest packet with one frame, and two bytes for a code that says so (RFC 6716, 3.2).
const OPUS_PACKET_BYTES: usize = 1277;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_idr_wherever_the_pieces_end() {
        let stream = [0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65, 0x88];
        for cut in 0..stream.len() {
            let mut scanner = NalScanner::new(Codec::H264);
            let found = scanner.key_begins(&stream[..cut]) | scanner.key_begins(&stream[cut..]);
            assert!(found, "cut at {cut}");
        }
        assert!(!NalScanner::new(Codec::H264).key_begins(&[0, 0, 1, 0x41, 0, 0, 3, 0x65]));
        assert!(NalScanner::new(Codec::H265).key_begins(&[0, 0, 1, 19 << 1, 1]));
        assert!(!NalScanner::new(Codec::H265).key_begins(&[0, 0, 1, 1 << 1, 1]));
    }

    fn opus_frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0x7f, 0xe0];
        frame.resize(frame.len() + length / 255, 0xff);
        frame.push((length % 255) as u8);
        frame.resize(frame.len() + length, 0x55);
        frame
    }

    #[test]
    fn counts_packets_of_opus_wherever_the_pieces_end() {
        let stream: Vec<u8> = [opus_frame(30), opus_frame(255), opus_frame(600)].concat();
        for cut in 0..stream.len() {
            let mut counter = FrameCounter::new(Codec::Opus);
            counter.take(&stream[..cut]);
            counter.take(&stream[cut..]);
            assert_eq!((counter.frames(), counter.errors()), (3, 0), "cut at {cut}");
        }
        let mut counter = FrameCounter::new(Codec::Opus);
        counter.take(&stream[1..]);
        assert_eq!((counter.frames(), counter.errors()), (0, 1));
    }

    fn adts_frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0; length];
        frame[0] = 0xff;
        frame[1] = 0xf1;
        frame[3] = (length >> 11) as u8 & 3;
        frame[4] = (length >> 3) as u8;
        frame[5] = (length << 5) as u8;
        frame
    }

    #[test]
    fn counts_frames_wherever_the_pieces_end() {
        let stream: Vec<u8> = [adts_frame(30), adts_frame(7), adts_frame(300)].concat();
        for cut in 0..stream.len() {
            let mut counter = FrameCounter::new(Codec::Aac);
            counter.take(&stream[..cut]);
            counter.take(&stream[cut..]);
            assert_eq!((counter.frames(), counter.errors()), (3, 0), "cut at {cut}");
        }
    }

    #[test]
    fn a_missing_byte_is_an_error_until_it_starts_over() {
        let mut counter = FrameCounter::new(Codec::Aac);
        let mut stream: Vec<u8> = [adts_frame(30), adts_frame(30), adts_frame(30)].concat();
        stream.remove(20);
        counter.take(&stream);
        assert_eq!((counter.frames(), counter.errors()), (1, 1));
        counter.restart();
        counter.take(&adts_frame(30));
        assert_eq!((counter.frames(), counter.errors()), (2, 1));
    }
}
