//! MPEG-TS (ISO/IEC 13818-1): access units in, whole TS packets out. Pure: no clock, no thread, no I/O.
//!
//! Every unit is written out completely when it comes. GStreamer's mpegtsmux waits until each of its
//! inputs has something, and so holds every picture back for as long as the sound takes to be
//! captured and coded (90 ms, measured), stops when one input stops (1.22), and sends its tables by
//! a timer. An output that leaves out groups of pictures, pauses for seconds and starts anew in the
//! middle needs none of that.
//!
//! - Continuity counters count what is sent, so units left out before leave no trace in them.
//! - PCR follows the newest decoding time of either track and never falls back. A picture's first
//!   packet carries one; when there are no pictures, the sound brings it along. Sound that overtakes
//!   pictures does not take the clock with it: theirs would be over before they come.
//! - PAT and PMT stand before every key frame, and at least every 100 ms.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::unit::{Track, Tracks};
use crate::config::{AudioCodec, Codec};

/// One coded picture or frame of sound. Times are in ticks of 90 kHz and may exceed 33 bits.
pub(super) struct AccessUnit<'a> {
    pub(super) track: Track,
    pub(super) key: bool,
    /// When it is shown.
    pub(super) pts: u64,
    /// When it is decoded, not later than `pts`.
    pub(super) dts: u64,
    /// What the program's clock goes by: `dts`, or the earlier time of pictures that are still to come.
    pub(super) clock: u64,
    pub(super) data: &'a [u8],
}

/// Writes one program.
#[derive(Debug)]
pub(super) struct Writer {
    codec: Codec,
    audio_stream_id: u8,
    pat: [u8; PACKET],
    pmt: [u8; PACKET],
    /// Continuity counters.
    pat_counter: u8,
    pmt_counter: u8,
    video_counter: u8,
    audio_counter: u8,
    /// How far the clock reference lies before the newest decoding time, in ticks.
    pcr_lead: u64,
    tables_wanted: bool,
    tables_at: Option<u64>,
    pcr: Option<u64>,
}

impl Writer {
    pub(super) fn new(tracks: Tracks) -> Writer {
        Writer {
            codec: tracks.video,
            audio_stream_id: match tracks.audio {
                Some(AudioCodec::Aac) | None => AUDIO_STREAM_ID,
                Some(AudioCodec::Opus) => PRIVATE_STREAM_ID,
            },
            pat: section_packet(PAT_PID, &pat_section()),
            pmt: section_packet(PMT_PID, &pmt_section(tracks)),
            pat_counter: 0,
            pmt_counter: 0,
            video_counter: 0,
            audio_counter: 0,
            pcr_lead: PCR_LEAD + ticks(tracks.audio_lateness),
            tables_wanted: true,
            tables_at: None,
            pcr: None,
        }
    }

    /// Writes the tables before the next unit, whatever it is.
    pub(super) fn want_tables(&mut self) {
        self.tables_wanted = true;
    }

    /// All packets of one unit.
    pub(super) fn write(&mut self, unit: &AccessUnit<'_>) -> Bytes {
        let mut out = BytesMut::with_capacity((unit.data.len() / PAYLOAD + SPARE_PACKETS) * PACKET);
        let is_key_picture = unit.track == Track::Video && unit.key;
        let tables_due = self.tables_at.is_none_or(|at| unit.clock >= at + TABLE_INTERVAL);
        if self.tables_wanted || tables_due || is_key_picture {
            self.tables_wanted = false;
            self.tables_at = Some(self.tables_at.unwrap_or(0).max(unit.clock));
            put_table(&mut out, &self.pat, &mut self.pat_counter);
            put_table(&mut out, &self.pmt, &mut self.pmt_counter);
        }
        let pcr = self.advance_pcr(unit);
        match unit.track {
            Track::Video => {
                let delimiter = missing_delimiter(self.codec, unit.data);
                let header = pes_header(VIDEO_STREAM_ID, unit, None);
                let flags = Flags { pcr, random_access: unit.key };
                put_pes(&mut out, VIDEO_PID, &mut self.video_counter, flags, [&header, delimiter, unit.data]);
            }
            Track::Audio => {
                if pcr.is_some() {
                    put_clock_packet(&mut out, self.video_counter, pcr);
                }
                let header = pes_header(self.audio_stream_id, unit, Some(unit.data.len()));
                let flags = Flags { pcr: None, random_access: true };
                put_pes(&mut out, AUDIO_PID, &mut self.audio_counter, flags, [&header, &[], unit.data]);
            }
        }
        out.freeze()
    }

    /// The PCR to write with this unit: none where it would not go forward, or where sound comes
    /// with a newer picture around.
    fn advance_pcr(&mut self, unit: &AccessUnit<'_>) -> Option<u64> {
        let now = unit.clock.saturating_sub(self.pcr_lead);
        let step = match unit.track {
            Track::Video => 1,
            Track::Audio => PCR_INTERVAL,
        };
        if self.pcr.is_some_and(|last| now < last + step) {
            return None;
        }
        self.pcr = Some(now);
        Some(now)
    }
}

/// A time in ticks of 90 kHz, to the nearest.
pub(super) fn ticks(time: Duration) -> u64 {
    let ticks = (time.as_nanos() * TICKS_PER_SECOND + NANOS_PER_SECOND / 2) / NANOS_PER_SECOND;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// What stands before each packet of Opus: its size, and that nothing of it is trimmed (the control header of
/// Xiph's draft "Opus in MPEG-TS", 0.1.3, which ffmpeg and GStreamer read and write).
pub(super) fn opus_header(size: usize) -> Vec<u8> {
    let mut header = vec![0x7f, 0xe0]; // 11 bits of prefix, no trim at either end, no extension
    header.resize(header.len() + size / 255, 0xff);
    header.put_u8((size % 255) as u8);
    header
}

/// What an adaptation field says.
#[derive(Clone, Copy)]
struct Flags {
    pcr: Option<u64>,
    random_access: bool,
}

impl Flags {
    /// Bytes of the adaptation field that are needed, its length byte included.
    fn size(self) -> usize {
        match (self.pcr, self.random_access) {
            (Some(_), _) => 8,
            (None, true) => 2,
            (None, false) => 0,
        }
    }

    /// An adaptation field of exactly `size` bytes, at least [`Flags::size`].
    fn put(self, out: &mut BytesMut, size: usize) {
        let Some(length) = size.checked_sub(1) else { return };
        out.put_u8(length as u8); // less than 184
        if length == 0 {
            return;
        }
        out.put_u8(u8::from(self.random_access) << 6 | u8::from(self.pcr.is_some()) << 4);
        if let Some(pcr) = self.pcr {
            let base = pcr & TIMESTAMP_MASK;
            // 33 bits, 6 reserved ones, 9 bits of extension (zero: 90 kHz is exact enough here).
            out.put_slice(&(base << 15 | 0x3f << 9).to_be_bytes()[2..]);
        }
        let written = if self.pcr.is_some() { 7 } else { 1 };
        out.put_bytes(0xff, length - written);
    }
}

/// Cuts a PES packet, given in parts, into TS packets; the last is filled up by its adaptation field.
fn put_pes(out: &mut BytesMut, pid: u16, counter: &mut u8, flags: Flags, parts: [&[u8]; 3]) {
    let mut parts = parts.into_iter();
    let mut part = parts.next().unwrap_or_default();
    let mut left: usize = part.len() + parts.clone().map(<[u8]>::len).sum::<usize>();
    let mut flags = flags;
    let mut first = true;
    while left > 0 {
        let needed = flags.size();
        let take = left.min(PAYLOAD - needed);
        let field = PAYLOAD - take;
        put_header(out, pid, first, field > 0, true, *counter);
        *counter = (*counter + 1) & 0xf;
        flags.put(out, field);
        let mut room = take;
        while room > 0 {
            if part.is_empty() {
                part = parts.next().unwrap_or_default();
                continue;
            }
            let (now, later) = part.split_at(room.min(part.len()));
            out.put_slice(now);
            room -= now.len();
            part = later;
        }
        left -= take;
        first = false;
        flags = Flags { pcr: None, random_access: false };
    }
}

/// A packet with a PCR and nothing else: it does not count.
fn put_clock_packet(out: &mut BytesMut, next_counter: u8, pcr: Option<u64>) {
    put_header(out, VIDEO_PID, false, true, false, next_counter.wrapping_sub(1) & 0xf);
    Flags { pcr, random_access: false }.put(out, PAYLOAD);
}

fn put_table(out: &mut BytesMut, packet: &[u8; PACKET], counter: &mut u8) {
    let start = out.len();
    out.put_slice(packet);
    out[start + 3] |= *counter;
    *counter = (*counter + 1) & 0xf;
}

fn put_header(out: &mut BytesMut, pid: u16, start: bool, field: bool, payload: bool, counter: u8) {
    out.put_u8(SYNC_BYTE);
    out.put_u16(u16::from(start) << 14 | pid);
    out.put_u8(u8::from(field) << 5 | u8::from(payload) << 4 | counter);
}

/// `size`: of the data, where the PES packet is to say it; pictures may be too large for that.
fn pes_header(stream_id: u8, unit: &AccessUnit<'_>, size: Option<usize>) -> Vec<u8> {
    let (pts, dts) = (unit.pts & TIMESTAMP_MASK, unit.dts & TIMESTAMP_MASK);
    let has_dts = pts != dts;
    let times: u8 = if has_dts { 10 } else { 5 };
    let length = size.map_or(0, |size| u16::try_from(size + 3 + usize::from(times)).unwrap_or(0));
    let mut header = vec![0, 0, 1, stream_id];
    header.put_u16(length);
    header.put_u8(0x84); // marker, data alignment: a PES packet is a whole unit
    header.put_u8(if has_dts { 0xc0 } else { 0x80 });
    header.put_u8(times);
    put_timestamp(&mut header, if has_dts { 3 } else { 2 }, pts);
    if has_dts {
        put_timestamp(&mut header, 1, dts);
    }
    header
}

/// 33 bits in five bytes, with marker bits.
fn put_timestamp(header: &mut Vec<u8>, prefix: u8, time: u64) {
    let bits = |shift: u32, count: u32| (time >> shift) & ((1 << count) - 1);
    header.put_u8(prefix << 4 | (bits(30, 3) << 1) as u8 | 1);
    header.put_u16((bits(15, 15) << 1) as u16 | 1);
    header.put_u16((bits(0, 15) << 1) as u16 | 1);
}

/// The access unit delimiter that TS demands before each picture, where the encoder wrote none.
fn missing_delimiter(codec: Codec, data: &[u8]) -> &'static [u8] {
    let after_start_code = data.strip_prefix(&[0, 0, 0, 1]).or_else(|| data.strip_prefix(&[0, 0, 1]));
    let first = after_start_code.and_then(|rest| rest.first()).copied().unwrap_or(0);
    match codec {
        Codec::H264 if first & 0x1f == 9 => &[],
        Codec::H264 => &[0, 0, 0, 1, 0x09, 0xf0],
        Codec::H265 if first >> 1 & 0x3f == 35 => &[],
        Codec::H265 => &[0, 0, 0, 1, 0x46, 0x01, 0x50],
    }
}

fn pat_section() -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u16(PROGRAM);
    body.put_u16(0xe000 | PMT_PID);
    section(0x00, TRANSPORT_STREAM, &body)
}

fn pmt_section(tracks: Tracks) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u16(0xe000 | VIDEO_PID); // whose packets carry the PCR
    body.put_u16(0xf000); // no descriptors
    let video = match tracks.video {
        Codec::H264 => 0x1b,
        Codec::H265 => 0x24,
    };
    let audio = tracks.audio.map(|codec| match codec {
        AudioCodec::Aac => (AAC_ADTS, AUDIO_PID, &[][..]),
        AudioCodec::Opus => (PRIVATE_PES, AUDIO_PID, &OPUS_DESCRIPTORS[..]),
    });
    for (stream_type, pid, descriptors) in std::iter::once((video, VIDEO_PID, &[][..])).chain(audio) {
        body.put_u8(stream_type);
        body.put_u16(0xe000 | pid);
        body.put_u16(0xf000 | descriptors.len() as u16); // a few bytes
        body.put_slice(descriptors);
    }
    section(0x02, PROGRAM, &body)
}

/// A table of one section, version 0.
fn section(table: u8, id: u16, body: &[u8]) -> Vec<u8> {
    let mut section = vec![table];
    section.put_u16(0xb000 | (body.len() + 9) as u16); // a few dozen bytes
    section.put_u16(id);
    section.put_slice(&[0xc1, 0, 0]); // version 0, current; section 0 of 0
    section.put_slice(body);
    let crc = crc32(&section);
    section.put_u32(crc);
    section
}

/// A section in a packet of its own, its continuity counter still zero.
fn section_packet(pid: u16, section: &[u8]) -> [u8; PACKET] {
    let mut out = BytesMut::with_capacity(PACKET);
    put_header(&mut out, pid, true, false, true, 0);
    out.put_u8(0); // the section begins at once
    out.put_slice(section);
    let mut packet = [0xff; PACKET];
    packet[..out.len()].copy_from_slice(&out);
    packet
}

/// CRC-32/MPEG-2.
fn crc32(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}

const TICKS_PER_SECOND: u128 = 90_000;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Bytes of a TS packet, and of what follows its four header bytes.
pub(super) const PACKET: usize = 188;
const PAYLOAD: usize = 184;

const SYNC_BYTE: u8 = 0x47;

/// Beside a unit's data: tables, a clock packet, headers, a last packet that is not full.
const SPARE_PACKETS: usize = 6;

const TRANSPORT_STREAM: u16 = 1;
const PROGRAM: u16 = 1;
const PAT_PID: u16 = 0;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
const VIDEO_STREAM_ID: u8 = 0xe0;
const AUDIO_STREAM_ID: u8 = 0xc0;
/// Stream type of AAC with ADTS headers.
const AAC_ADTS: u8 = 0x0f;

/// Stream type and stream id of what has no number of its own in the standard.
const PRIVATE_PES: u8 = 0x06;
const PRIVATE_STREAM_ID: u8 = 0xbd;
/// Opus's registration, and its extension descriptor: two channels as they are.
const OPUS_DESCRIPTORS: [u8; 10] = [0x05, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 2];

/// PTS, DTS and PCR base have 33 bits: they wrap every 26.5 hours, and receivers expect it.
const TIMESTAMP_MASK: u64 = (1 << 33) - 1;

/// 300 ms: sound comes 100 ms later than the picture, so that both are there before their time.
const PCR_LEAD: u64 = 27_000;

/// Without pictures, the sound brings a PCR along after this time: 30 ms, below DVB's 40 ms.
const PCR_INTERVAL: u64 = 2_700;

/// 100 ms: DVB's limit for PAT and PMT (ETSI TR 101 290, 500 ms) is kept five times over, so that
/// whoever joins between key frames knows the tracks soon.
const TABLE_INTERVAL: u64 = 9_000;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const BOTH: Tracks =
        Tracks { video: Codec::H264, audio: Some(AudioCodec::Aac), audio_lateness: Duration::ZERO };

    fn video(at: u64, key: bool, data: &[u8]) -> AccessUnit<'_> {
        AccessUnit { track: Track::Video, key, pts: at, dts: at, clock: at, data }
    }

    fn audio(at: u64, data: &[u8]) -> AccessUnit<'_> {
        AccessUnit { track: Track::Audio, key: true, pts: at, dts: at, clock: at, data }
    }

    /// What a receiver reads.
    #[derive(Default)]
    struct Reader {
        counters: HashMap<u16, u8>,
        units: HashMap<u16, Vec<Vec<u8>>>,
        pcrs: Vec<u64>,
        pids: Vec<u16>,
    }

    impl Reader {
        fn read(&mut self, stream: &[u8]) {
            assert_eq!(stream.len() % PACKET, 0, "whole packets");
            stream.chunks(PACKET).for_each(|packet| self.packet(packet));
        }

        fn packet(&mut self, packet: &[u8]) {
            assert_eq!(packet[0], SYNC_BYTE);
            let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
            self.pids.push(pid);
            let (start, field, payload) =
                (packet[1] & 0x40 != 0, packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
            let counter = packet[3] & 0xf;
            if let Some(last) = self.counters.insert(pid, counter) {
                let expected = if payload { (last + 1) & 0xf } else { last };
                assert_eq!(counter, expected, "continuity of PID {pid:#x}");
            }
            let mut rest = &packet[4..];
            if field {
                let length = usize::from(rest[0]);
                if length > 0 && rest[1] & 0x10 != 0 {
                    let bits = rest[2..8].iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
                    assert_eq!(bits >> 9 & 0x3f, 0x3f, "reserved bits");
                    self.pcrs.push(bits >> 15);
                }
                rest = &rest[1 + length..];
            }
            assert_eq!(payload, !rest.is_empty());
            let units = self.units.entry(pid).or_default();
            if start {
                units.push(Vec::new());
            }
            if payload {
                units.last_mut().expect("a PID begins with a unit's start").extend_from_slice(rest);
            }
        }

        /// PTS and data of each PES packet.
        fn pes(&self, pid: u16) -> Vec<(u64, Vec<u8>)> {
            let units = self.units.get(&pid).map(Vec::as_slice).unwrap_or_default();
            units
                .iter()
                .map(|pes| {
                    assert_eq!(pes[..3], [0, 0, 1]);
                    let length = usize::from(u16::from_be_bytes([pes[4], pes[5]]));
                    assert!(length == 0 || length == pes.len() - 6);
                    let header = 9 + usize::from(pes[8]);
                    let t: Vec<u64> = pes[9..14].iter().map(|byte| u64::from(*byte)).collect();
                    assert!(t[0] & 1 == 1 && t[2] & 1 == 1 && t[4] & 1 == 1, "marker bits");
                    let pts = (t[0] >> 1 & 7) << 30 | (t[1] << 8 | t[2]) >> 1 << 15 | (t[3] << 8 | t[4]) >> 1;
                    (pts, pes[header..].to_vec())
                })
                .collect()
        }
    }

    const DELIMITED: [u8; 10] = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65];

    #[test]
    fn sound_that_overtakes_pictures_leaves_the_clock_to_them() {
        let mut writer = Writer::new(BOTH);
        let mut reader = Reader::default();
        reader.read(&writer.write(&video(900_000, true, &DELIMITED)));
        for frame in 1..50 {
            let at = 900_000 + frame * 7_680;
            reader.read(&writer.write(&AccessUnit { clock: 903_000, ..audio(at, &[1; 700]) }));
        }
        reader.read(&writer.write(&video(903_000, false, &DELIMITED)));
        assert!(reader.pcrs.iter().all(|pcr| *pcr <= 903_000 - PCR_LEAD), "{:?}", reader.pcrs);
    }

    #[test]
    fn a_key_frame_stands_right_behind_the_tables_and_carries_the_clock() {
        let mut writer = Writer::new(BOTH);
        let mut reader = Reader::default();
        reader.read(&writer.write(&video(900_000, true, &DELIMITED)));
        assert_eq!(reader.pids, [PAT_PID, PMT_PID, VIDEO_PID]);
        assert_eq!(reader.pcrs, [900_000 - PCR_LEAD]);
        assert_eq!(reader.pes(VIDEO_PID), [(900_000, DELIMITED.to_vec())]);
    }

    #[test]
    fn tables_are_repeated_and_can_be_asked_for() {
        let mut writer = Writer::new(BOTH);
        let mut with_tables = |at, ask| {
            if ask {
                writer.want_tables();
            }
            let packets = writer.write(&video(at, false, &DELIMITED));
            packets.len() / PACKET == 3
        };
        assert!(with_tables(90_000, false), "the first packets of all");
        assert!(!with_tables(93_000, false));
        assert!(with_tables(96_000, true));
        assert!(!with_tables(99_000, false));
        assert!(with_tables(105_000, false), "100 ms later");
    }

    #[test]
    fn the_tables_are_those_of_the_standard() {
        // The PAT of program 1 with PMT PID 0x1000, as every tool writes it.
        assert_eq!(
            pat_section(),
            [0x00, 0xb0, 0x0d, 0x00, 0x01, 0xc1, 0x00, 0x00, 0x00, 0x01, 0xf0, 0x00, 0x2a, 0xb1, 0x04, 0xb2]
        );
        // A CRC over a section with its CRC gives zero.
        assert_eq!(crc32(&pmt_section(BOTH)), 0);
        // Stream types of table 2-34, each behind the PCR's PID and no descriptors, with its own PID.
        for (video, stream_type) in [(Codec::H264, 0x1b), (Codec::H265, 0x24)] {
            let pmt = pmt_section(Tracks { video, ..BOTH });
            assert_eq!(pmt[8..17], [0xe1, 0x00, 0xf0, 0x00, stream_type, 0xe1, 0x00, 0xf0, 0x00]);
            assert_eq!(pmt[17..22], [0x0f, 0xe1, 0x01, 0xf0, 0x00]);
        }
        let pmt = pmt_section(Tracks { audio: Some(AudioCodec::Opus), ..BOTH });
        assert_eq!(crc32(&pmt), 0);
        assert_eq!(
            pmt[17..32],
            [0x06, 0xe1, 0x01, 0xf0, 0x0a, 5, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 2]
        );
    }

    #[test]
    fn an_opus_packet_says_its_size() {
        for size in [1, 160, 254, 255, 256, 510, 1275] {
            let header = opus_header(size);
            let said: usize = header[2..].iter().map(|byte| usize::from(*byte)).sum();
            assert_eq!((said, &header[..2]), (size, &[0x7f, 0xe0][..]));
            let (last, full) = header[2..].split_last().unwrap();
            assert!(*last < 255 && full.iter().all(|byte| *byte == 255), "{size}: {header:?}");
        }
    }

    #[test]
    fn a_missing_delimiter_is_supplied() {
        assert_eq!(missing_delimiter(Codec::H264, &DELIMITED), b"");
        assert_eq!(missing_delimiter(Codec::H264, &[0, 0, 1, 0x65]), [0, 0, 0, 1, 9, 0xf0]);
        assert_eq!(missing_delimiter(Codec::H265, &[0, 0, 0, 1, 0x46, 1, 0x50]), b"");
        assert_eq!(missing_delimiter(Codec::H265, &[0, 0, 0, 1, 0x40, 1])[4], 0x46);
    }

    #[test]
    fn sound_alone_keeps_the_clock_running_and_late_sound_does_not_turn_it_back() {
        let mut writer = Writer::new(BOTH);
        let mut reader = Reader::default();
        reader.read(&writer.write(&video(900_000, true, &DELIMITED)));
        // Sound is 90 ms behind, then pictures stop for two seconds.
        for frame in 0..100 {
            reader.read(&writer.write(&audio(900_000 - 8_100 + frame * 1_920, &[0xff; 300])));
        }
        reader.read(&writer.write(&video(1_080_000, true, &DELIMITED)));
        assert!(reader.pcrs.is_sorted_by(|a, b| a < b));
        assert!(reader.pcrs.windows(2).all(|pair| pair[1] - pair[0] <= 9_000), "{:?}", reader.pcrs);
    }

    #[test]
    fn a_picture_that_is_decoded_before_it_is_shown_has_both_times() {
        let unit = AccessUnit { pts: 96_000, dts: 93_000, clock: 93_000, ..video(0, true, &DELIMITED) };
        let header = pes_header(VIDEO_STREAM_ID, &unit, None);
        assert_eq!((header[7], header[8], header.len()), (0xc0, 10, 19));
        assert_eq!((header[9] >> 4, header[14] >> 4), (3, 1), "which is which");
    }

    proptest! {
        /// Any units, with any left out: what was written is read back, and counters, clock and
        /// times hold; also across the wrap of the 33 bits.
        #[test]
        fn what_is_written_is_read_back(
            start in prop_oneof![Just(PCR_LEAD), Just((1u64 << 33) - 5_000), Just(1u64 << 40)],
            units in prop::collection::vec((any::<bool>(), any::<bool>(), 1u64..400_000, 1usize..3_000), 1..60),
        ) {
            let mut writer = Writer::new(BOTH);
            let mut reader = Reader::default();
            let mut at = start;
            let mut expected: HashMap<u16, Vec<(u64, Vec<u8>)>> = HashMap::new();
            for (is_video, key, step, size) in units {
                at += step;
                let mut data = DELIMITED.to_vec();
                data.resize(DELIMITED.len() + size, (at % 251) as u8);
                let (unit, pid) = if is_video { (video(at, key, &data), VIDEO_PID) } else { (audio(at, &data), AUDIO_PID) };
                let packets = writer.write(&unit);
                prop_assert!(packets.len() <= (data.len() / PAYLOAD + SPARE_PACKETS) * PACKET, "no growing");
                reader.read(&packets);
                expected.entry(pid).or_default().push((at & TIMESTAMP_MASK, data));
            }
            for pid in [VIDEO_PID, AUDIO_PID] {
                prop_assert_eq!(reader.pes(pid), expected.remove(&pid).unwrap_or_default());
            }
            for pair in reader.pcrs.windows(2) {
                let step = pair[1].wrapping_sub(pair[0]) & TIMESTAMP_MASK;
                prop_assert!(step > 0 && step < TIMESTAMP_MASK / 2);
            }
        }
    }
}
