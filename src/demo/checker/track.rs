//! One track: its PES packets, time stamps and frames.

use std::time::Duration;

use mpeg2ts_reader::packet::{Packet, Pid};
use mpeg2ts_reader::pes::{PesContents, PesHeader, PtsDts};

use super::elementary::{FrameCounter, NalScanner};
use super::tables::{Codec, Stream};
use super::timing::{Lag, Ticks, ticks};
use crate::units::ByteCount;

/// What a track was like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackReport {
    pub pid: u16,
    pub codec: Codec,
    /// PES packets with a PTS: one video frame each, or one or more of sound.
    pub units: u64,
    /// Of these, how many a decoder can start with.
    pub keys: u64,
    /// Frames of AAC or Opus; 0 for other codecs.
    pub sound_frames: u64,
    /// Units with packets missing inside, or sound frames that did not follow each other.
    pub damaged: u64,
    /// PES headers that could not be read, or had no PTS.
    pub unreadable: u64,
    /// Payload, without PES headers.
    pub bytes: ByteCount,
    pub first_pts: Option<Ticks>,
    pub last_pts: Option<Ticks>,
    /// From the first PTS to the last, as they followed each other.
    pub span: Duration,
    /// PTS that were not above the one before: some are right where frames are reordered.
    pub pts_backwards: u64,
    /// DTS (PTS where there is none) that were not above the one before: never right.
    pub dts_backwards: u64,
    /// The largest step between the decoding times of frames, of which a unit of sound may hold several: a
    /// gap, where it is longer than frames are apart.
    pub longest_step: Duration,
    /// Of arrival behind PTS, at the end of each unit.
    pub lag: Option<Lag>,
}

pub(super) struct Track {
    report: TrackReport,
    last_dts: Option<Ticks>,
    /// Frames of sound before the unit that is arriving.
    frames_before: u64,
    unit: Option<Unit>,
    nals: NalScanner,
    frames: FrameCounter,
}

/// The unit that is arriving.
struct Unit {
    pts: Ticks,
    key: bool,
    damaged: bool,
    newest_arrival: Duration,
}

impl Track {
    pub fn new(stream: Stream) -> Self {
        let Stream { pid, codec } = stream;
        Track {
            report: TrackReport {
                pid,
                codec,
                units: 0,
                keys: 0,
                sound_frames: 0,
                damaged: 0,
                unreadable: 0,
                bytes: ByteCount::ZERO,
                first_pts: None,
                last_pts: None,
                span: Duration::ZERO,
                pts_backwards: 0,
                dts_backwards: 0,
                longest_step: Duration::ZERO,
                lag: None,
            },
            last_dts: None,
            frames_before: 0,
            unit: None,
            nals: NalScanner::new(codec),
            frames: FrameCounter::new(codec),
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::new(self.report.pid)
    }

    pub fn carries(&self, stream: Stream) -> bool {
        (self.report.pid, self.report.codec) == (stream.pid, stream.codec)
    }

    /// The unit that is still arriving is counted, but not yet judged.
    pub fn report(&self) -> TrackReport {
        TrackReport {
            sound_frames: self.frames.frames(),
            damaged: self.report.damaged + self.frames.errors(),
            ..self.report
        }
    }

    /// Takes a packet of this track, before which others are missing after a `gap`.
    pub fn take(&mut self, at: Duration, packet: &Packet<'_>, gap: bool) {
        if gap && let Some(unit) = &mut self.unit {
            unit.damaged = true;
        }
        let Some(payload) = packet.payload() else { return };
        let elementary = if packet.payload_unit_start_indicator() {
            self.finish_unit();
            let random_access =
                packet.adaptation_field().is_some_and(|field| field.random_access_indicator());
            match self.begin_unit(at, payload, random_access) {
                Some(elementary) => elementary,
                None => {
                    self.report.unreadable += 1;
                    return;
                }
            }
        } else {
            payload
        };
        let Some(unit) = &mut self.unit else { return }; // The tail of a unit that began before us.
        unit.newest_arrival = at;
        self.report.bytes += ByteCount::new(elementary.len() as u64);
        if self.report.codec.is_audio() {
            if !unit.damaged {
                self.frames.take(elementary);
            }
        } else if self.nals.key_begins(elementary) {
            self.note_key();
        }
    }

    /// Reads a PES header and returns what follows it.
    fn begin_unit<'a>(&mut self, at: Duration, pes: &'a [u8], random_access: bool) -> Option<&'a [u8]> {
        let PesContents::Parsed(Some(contents)) = PesHeader::from_bytes(pes)?.contents() else { return None };
        let (pts, dts) = match contents.pts_dts().ok()? {
            PtsDts::PtsOnly(pts) => {
                let pts = pts.ok()?;
                (pts, pts)
            }
            PtsDts::Both { pts, dts } => (pts.ok()?, dts.ok()?),
            PtsDts::None | PtsDts::Invalid => return None,
        };
        self.follow(Ticks::new(pts.value()), Ticks::new(dts.value()));
        self.unit =
            Some(Unit { pts: Ticks::new(pts.value()), key: false, damaged: false, newest_arrival: at });
        self.frames.restart();
        self.report.units += 1;
        if random_access {
            self.note_key();
        }
        Some(contents.payload())
    }

    fn follow(&mut self, pts: Ticks, dts: Ticks) {
        if let Some(last) = self.report.last_pts {
            let step = pts.since(last);
            self.report.pts_backwards += u64::from(step <= 0);
            let since_first = self.report.first_pts.map_or(0, |first| pts.since(first));
            self.report.span = self.report.span.max(ticks(since_first));
        }
        if let Some(last) = self.last_dts {
            let step = dts.since(last);
            self.report.dts_backwards += u64::from(step <= 0);
            // From the last frame of the unit before, whose time only the first one has.
            let frames = self.frames.frames() - self.frames_before;
            let step = step - self.frame_ticks() * frames.saturating_sub(1) as i64;
            self.report.longest_step = self.report.longest_step.max(ticks(step));
        }
        self.frames_before = self.frames.frames();
        self.report.first_pts.get_or_insert(pts);
        self.report.last_pts = Some(pts);
        self.last_dts = Some(dts);
    }

    /// How long a frame of sound lasts.
    fn frame_ticks(&self) -> i64 {
        match self.report.codec {
            Codec::Opus => OPUS_FRAME,
            _ => AAC_FRAME,
        }
    }

    fn note_key(&mut self) {
        if let Some(unit) = &mut self.unit
            && !unit.key
        {
            unit.key = true;
            self.report.keys += 1;
        }
    }

    fn finish_unit(&mut self) {
        let Some(unit) = self.unit.take() else { return };
        if unit.damaged {
            self.report.damaged += 1;
        } else {
            self.report.lag = Some(Lag::updated(self.report.lag, unit.newest_arrival, unit.pts));
        }
    }
}

/// Ticks of 90 kHz: 1024 samples at the 48 kHz that all our sound has.
const AAC_FRAME: i64 = 1920;
/// 20 ms, as our encoder makes them.
const OPUS_FRAME: i64 = 1800;
