//! The pictures in what a receiver released: which are whole, and how late each was.

use std::time::Duration;

use uplinkd::demo::receiver::Message;

/// One coded picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// In ms, as they followed each other.
    pub pts_ms: f64,
    pub key: bool,
    /// Something of it is missing.
    pub damaged: bool,
    /// When the sender gave its first packet to SRT.
    pub sent: Duration,
    /// When its last packet was released.
    pub released: Duration,
    /// How much later than the quickest packets one of its packets was released, in ms: the most.
    pub late_ms: f64,
    /// In the stream, its last packet included.
    pub end_byte: u64,
}

/// Reads the pictures; `late_ms` says how late each message was. Messages hold whole packets.
pub fn frames(messages: &[Message], late_ms: &[f64]) -> Vec<Frame> {
    let mut reader = Reader::default();
    for (message, late_ms) in messages.iter().zip(late_ms) {
        reader.take(message, *late_ms);
    }
    reader.frames
}

#[derive(Default)]
struct Reader {
    frames: Vec<Frame>,
    video_pid: Option<u16>,
    counter: Option<u8>,
    wrapped: u64,
    last_pts: u64,
    bytes: u64,
}

impl Reader {
    fn take(&mut self, message: &Message, late_ms: f64) {
        if message.gap
            && let Some(frame) = self.frames.last_mut()
        {
            frame.damaged = true;
        }
        for packet in message.bytes.chunks_exact(PACKET) {
            self.bytes += PACKET as u64;
            let Some(payload) = self.payload(packet) else { continue };
            let begins = packet[1] & 0x40 != 0;
            if begins && let Some(pts) = video_pts(payload) {
                self.video_pid = Some(pid(packet));
                self.begin(pts, is_random_access(packet), message, late_ms);
            } else if Some(pid(packet)) == self.video_pid
                && let Some(frame) = self.frames.last_mut()
            {
                frame.late_ms = frame.late_ms.max(late_ms);
                frame.released = message.at;
                frame.end_byte = self.bytes;
            }
        }
    }

    /// The payload of a packet of the video track or one that may begin it; notes what is missing.
    fn payload<'a>(&mut self, packet: &'a [u8]) -> Option<&'a [u8]> {
        if packet[0] != SYNC || self.video_pid.is_some_and(|video| video != pid(packet)) {
            return None;
        }
        let start = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        if packet[3] & 0x10 == 0 {
            return None;
        }
        if self.video_pid.is_some() {
            let counter = packet[3] & 15;
            let expected = self.counter.replace(counter).map(|last| (last + 1) & 15);
            if expected.is_some_and(|expected| expected != counter)
                && let Some(frame) = self.frames.last_mut()
            {
                frame.damaged = true;
            }
        }
        packet.get(start..)
    }

    fn begin(&mut self, pts: u64, key: bool, message: &Message, late_ms: f64) {
        if pts + WRAP / 2 < self.last_pts {
            self.wrapped += WRAP;
        }
        self.last_pts = pts;
        self.frames.push(Frame {
            pts_ms: (pts + self.wrapped) as f64 / 90.0,
            key,
            damaged: false,
            sent: message.sent.unwrap_or(message.at),
            released: message.at,
            late_ms,
            end_byte: self.bytes,
        });
    }
}

/// The presentation time, in ticks of 90 kHz, of a video PES packet that begins here.
fn video_pts(pes: &[u8]) -> Option<u64> {
    let [0, 0, 1, 0xe0..=0xef, _, _, _, flags, _, pts @ ..] = pes else { return None };
    let [a, b, c, d, e, ..] = pts else { return None };
    let [a, b, c, d, e] = [a, b, c, d, e].map(|byte| u64::from(*byte));
    (flags & 0x80 != 0).then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

fn is_random_access(packet: &[u8]) -> bool {
    packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x40 != 0
}

fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// Ticks until time stamps start over.
const WRAP: u64 = 1 << 33;
