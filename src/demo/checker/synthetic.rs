//! Transport streams made for tests: a right one, whose packets the tests then damage.

use mpeg2ts_reader::mpegts_crc;

pub const PMT_PID: u16 = 0x20;
pub const VIDEO_PID: u16 = 0x41;
pub const AUDIO_PID: u16 = 0x42;
/// 90 kHz ticks of a video frame at 30 frames a second, and of an AAC frame at 48 kHz.
pub const VIDEO_STEP: u64 = 3000;
pub const AUDIO_STEP: u64 = 1920;

pub type TsPacket = [u8; 188];

/// Writes packets, each PID with its own continuity counter.
#[derive(Default)]
pub struct Writer {
    pub packets: Vec<TsPacket>,
    counters: std::collections::BTreeMap<u16, u8>,
}

/// What goes into an adaptation field.
#[derive(Clone, Copy, Default)]
pub struct Adaptation {
    pub pcr: Option<u64>,
    pub random_access: bool,
    pub discontinuity: bool,
}

impl Writer {
    /// `seconds` of H.264 with a key frame a second and AAC, from `first_pts` on, with tables and a
    /// PCR every frame.
    pub fn stream(seconds: u64, first_pts: u64) -> Vec<TsPacket> {
        let mut writer = Writer::default();
        let mut audio_pts = 0;
        for frame in 0..seconds * 30 {
            let key = frame % 30 == 0;
            if frame % 3 == 0 {
                writer.tables();
            }
            let pts = frame * VIDEO_STEP;
            while audio_pts <= pts {
                writer.audio(first_pts + audio_pts);
                audio_pts += AUDIO_STEP;
            }
            writer.video(first_pts + pts, key, first_pts + pts);
        }
        writer.packets
    }

    pub fn tables(&mut self) {
        let pat = section(0x00, &[0, 1, 0xe0 | (PMT_PID >> 8) as u8, PMT_PID as u8]);
        self.section(0, &pat);
        let mut body = vec![0xe0 | (VIDEO_PID >> 8) as u8, VIDEO_PID as u8, 0xf0, 0];
        for (stream_type, pid) in [(0x1b, VIDEO_PID), (0x0f, AUDIO_PID)] {
            body.extend([stream_type, 0xe0 | (pid >> 8) as u8, pid as u8, 0xf0, 0]);
        }
        self.section(PMT_PID, &section(0x02, &body));
    }

    /// A frame of 4 packets and a bit.
    pub fn video(&mut self, pts: u64, key: bool, pcr: u64) {
        let mut payload = vec![0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, if key { 0x65 } else { 0x41 }];
        payload.resize(800, 0x55);
        let adaptation = Adaptation { pcr: Some(pcr), random_access: key, discontinuity: false };
        self.pes(VIDEO_PID, 0xe0, pts, &payload, adaptation);
    }

    /// A unit of one AAC frame of 100 bytes.
    pub fn audio(&mut self, pts: u64) {
        let mut frame = vec![0x77; 100];
        frame[..7].copy_from_slice(&[0xff, 0xf1, 0x4c, 0x80, 100 >> 3, (100 << 5) as u8 | 0x1f, 0xfc]);
        self.pes(AUDIO_PID, 0xc0, pts, &frame, Adaptation::default());
    }

    pub fn pes(&mut self, pid: u16, stream_id: u8, pts: u64, payload: &[u8], adaptation: Adaptation) {
        let pts = pts % (1 << 33);
        let mut pes = vec![0, 0, 1, stream_id, 0, 0, 0x80, 0x80, 5];
        pes.extend([
            0x21 | (pts >> 29) as u8 & 0x0e,
            (pts >> 22) as u8,
            1 | (pts >> 14) as u8 & 0xfe,
            (pts >> 7) as u8,
            1 | (pts << 1) as u8,
        ]);
        pes.extend(payload);
        let mut rest = &pes[..];
        let mut first = true;
        while !rest.is_empty() {
            rest = self.packet(pid, first, if first { adaptation } else { Adaptation::default() }, rest);
            first = false;
        }
    }

    /// Writes what fits into one packet, stuffed when that is less, and returns the rest.
    pub fn packet<'a>(
        &mut self,
        pid: u16,
        start: bool,
        adaptation: Adaptation,
        payload: &'a [u8],
    ) -> &'a [u8] {
        let mut field = Vec::new();
        let Adaptation { pcr, random_access, discontinuity } = adaptation;
        if pcr.is_some() || random_access || discontinuity {
            let flags =
                u8::from(discontinuity) << 7 | u8::from(random_access) << 6 | u8::from(pcr.is_some()) << 4;
            field.push(flags);
        }
        if let Some(pcr) = pcr {
            let base = pcr % (1 << 33);
            field.extend([(base >> 25) as u8, (base >> 17) as u8, (base >> 9) as u8, (base >> 1) as u8]);
            field.extend([(base << 7) as u8 | 0x7e, 0]);
        }
        let overhead = if field.is_empty() { 0 } else { 1 + field.len() };
        let taken = payload.len().min(184 - overhead);
        let stuffing = 184 - overhead - taken;
        if stuffing > 0 {
            if field.is_empty() && stuffing > 1 {
                field.push(0);
            }
            let length = 184 - taken - 1;
            field.resize(length, 0xff);
        }
        let has_field = taken < 184;
        let counter = self.counters.entry(pid).or_insert(0);
        let mut packet = [0; 188];
        packet[0] = 0x47;
        packet[1] = u8::from(start) << 6 | (pid >> 8) as u8;
        packet[2] = pid as u8;
        packet[3] = u8::from(has_field) << 5 | u8::from(taken > 0) << 4 | *counter;
        if taken > 0 {
            *counter = (*counter + 1) % 16;
        }
        if has_field {
            packet[4] = field.len() as u8;
            packet[5..5 + field.len()].copy_from_slice(&field);
        }
        packet[188 - taken..].copy_from_slice(&payload[..taken]);
        self.packets.push(packet);
        &payload[taken..]
    }

    fn section(&mut self, pid: u16, section: &[u8]) {
        let mut payload = vec![0];
        payload.extend(section);
        payload.resize(184, 0xff);
        self.packet(pid, true, Adaptation::default(), &payload);
    }
}

fn section(table: u8, body: &[u8]) -> Vec<u8> {
    let length = 5 + body.len() + 4;
    let mut section = vec![table, 0xb0 | (length >> 8) as u8, length as u8, 0, 1, 0xc1, 0, 0];
    section.extend(body);
    section.extend(mpegts_crc::sum32(&section).to_be_bytes());
    section
}
