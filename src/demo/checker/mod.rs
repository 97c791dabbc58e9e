//! Checks a received MPEG transport stream (ISO/IEC 13818-1) as it arrives.
//!
//! Bytes and their arrival times go in, a [`Report`] comes out. The crate `mpeg2ts-reader` reads
//! packets, tables and PES headers; what is counted as a defect is decided here:
//!
//! ```text
//! bytes ─▶ framing (sync bytes) ─▶ continuity of each PID ─┬▶ PAT, PMT ─▶ which PID is what
//!                                                          ├▶ PCR
//!                                                          └▶ PES of the video and the sound track
//! ```
//! A gap that the transport knows of ([`Checker::gap`]: packets given up as too late) is counted
//! apart from one that nobody announced, which is a defect of whoever made the stream.

mod continuity;
mod elementary;
mod tables;
mod timing;
mod track;

use std::collections::BTreeMap;
use std::time::Duration;

use mpeg2ts_reader::packet::{Packet, Pid};

pub use self::continuity::PidReport;
use self::continuity::{Continuity, Next};
use self::tables::Tables;
pub use self::tables::{Codec, Stream};
use self::timing::ProgramClock;
use self::timing::RateWindow;
pub use self::timing::{ClockReport, Lag, TICKS_PER_SECOND, Ticks};
use self::track::Track;
pub use self::track::TrackReport;
use crate::units::{Bitrate, ByteCount};

/// The state of a check.
pub struct Checker {
    framing: Framing,
    pids: BTreeMap<u16, Continuity>,
    tables: Tables,
    clock: ProgramClock,
    video: Option<Track>,
    audio: Option<Track>,
    rate: RateWindow,
    packets: u64,
    transport_errors: u64,
}

/// What a stream was like so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Everything that arrived.
    pub bytes: ByteCount,
    /// Whole packets.
    pub packets: u64,
    /// Packets whose sync byte was wrong while the packets around them were in place.
    pub sync_byte_errors: u64,
    /// Times that the packet boundaries were lost and had to be found again.
    pub sync_losses: u64,
    /// Bytes outside packets.
    pub skipped_bytes: u64,
    /// Packets marked as damaged (transport_error_indicator).
    pub transport_errors: u64,
    /// Each PID seen, null packets aside.
    pub pids: BTreeMap<u16, PidReport>,
    /// PAT and PMT sections with a right checksum.
    pub pat_sections: u64,
    pub pmt_sections: u64,
    /// Times that a PAT or PMT differed from the one before.
    pub table_changes: u64,
    /// What the PMT lists.
    pub streams: Vec<Stream>,
    pub clock: ClockReport,
    /// The first video and the first sound stream of the PMT.
    pub video: Option<TrackReport>,
    pub audio: Option<TrackReport>,
    /// Over the last second.
    pub delivered: Bitrate,
}

impl Report {
    /// Continuity-counter errors that no gap of the transport explains.
    pub fn continuity_errors(&self) -> u64 {
        self.pids.values().map(|pid| pid.errors).sum()
    }

    /// Continuity-counter errors behind a gap that the transport knew of.
    pub fn excused_gaps(&self) -> u64 {
        self.pids.values().map(|pid| pid.excused).sum()
    }

    /// Timestamps that did not rise, in decoding order, of both tracks.
    pub fn backward_timestamps(&self) -> u64 {
        [&self.video, &self.audio].into_iter().flatten().map(|track| track.dts_backwards).sum()
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

impl Checker {
    pub fn new() -> Self {
        Checker {
            framing: Framing::default(),
            pids: BTreeMap::new(),
            tables: Tables::default(),
            clock: ProgramClock::default(),
            video: None,
            audio: None,
            rate: RateWindow::default(),
            packets: 0,
            transport_errors: 0,
        }
    }

    /// Takes what arrived `at` that time, in order; packets may be cut anywhere.
    pub fn feed(&mut self, at: Duration, bytes: &[u8]) {
        self.rate.add(at, bytes.len());
        self.framing.push(bytes);
        while let Some(packet) = self.framing.next_packet() {
            self.packets += 1;
            // The framing only lets packets with a sync byte through.
            self.packet(at, &Packet::new(&packet));
        }
    }

    /// The transport has left packets out here, knowingly: what is missing is not the stream's fault.
    pub fn gap(&mut self) {
        self.pids.values_mut().for_each(Continuity::excuse_next);
        self.clock.excuse_next();
    }

    /// The report at `now`, on the clock of the arrival times.
    pub fn report(&self, now: Duration) -> Report {
        Report {
            bytes: self.rate.total(),
            packets: self.packets,
            sync_byte_errors: self.framing.sync_byte_errors,
            sync_losses: self.framing.sync_losses,
            skipped_bytes: self.framing.skipped_bytes,
            transport_errors: self.transport_errors,
            pids: self.pids.iter().map(|(pid, continuity)| (*pid, continuity.report())).collect(),
            pat_sections: self.tables.pat_sections(),
            pmt_sections: self.tables.pmt_sections(),
            table_changes: self.tables.changes(),
            streams: self.tables.streams().to_vec(),
            clock: self.clock.report(),
            video: self.video.as_ref().map(Track::report),
            audio: self.audio.as_ref().map(Track::report),
            delivered: self.rate.last_second(now),
        }
    }

    fn packet(&mut self, at: Duration, packet: &Packet<'_>) {
        let pid = packet.pid();
        if pid == Pid::STUFFING {
            return;
        }
        if packet.transport_error_indicator() {
            // Nothing else in a damaged packet can be believed, its PID and its counter included.
            self.transport_errors += 1;
            return;
        }
        let next = self.pids.entry(pid.into()).or_default().check(packet);
        if next == Next::Duplicate {
            return;
        }
        if self.tables.take(packet, next == Next::Gap) {
            self.follow_tables();
        }
        if self.tables.clock_pid() == Some(pid) {
            self.clock.check(packet);
        }
        for track in [&mut self.video, &mut self.audio].into_iter().flatten() {
            if track.pid() == pid {
                track.take(at, packet, next == Next::Gap);
            }
        }
    }

    /// Starts the tracks that the PMT lists, unless they run already.
    fn follow_tables(&mut self) {
        let first =
            |wanted: fn(Codec) -> bool| self.tables.streams().iter().find(|s| wanted(s.codec)).copied();
        for (track, stream) in
            [(&mut self.video, first(Codec::is_video)), (&mut self.audio, first(Codec::is_audio))]
        {
            if let Some(stream) = stream
                && track.as_ref().is_none_or(|track| !track.carries(stream))
            {
                *track = Some(Track::new(stream));
            }
        }
    }
}

/// Finds the packets among the bytes.
#[derive(Default)]
struct Framing {
    /// Less than one packet stays behind, or [`LOOK_AHEAD`] while the boundaries are searched for.
    pending: Vec<u8>,
    in_sync: bool,
    sync_byte_errors: u64,
    sync_losses: u64,
    skipped_bytes: u64,
}

impl Framing {
    fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    fn next_packet(&mut self) -> Option<[u8; Packet::SIZE]> {
        loop {
            if !self.in_sync && !self.find_sync() {
                return None;
            }
            let packet = *self.pending.first_chunk::<{ Packet::SIZE }>()?;
            if Packet::is_sync_byte(packet[0]) {
                self.pending.drain(..Packet::SIZE);
                return Some(packet);
            }
            // One wrong sync byte is a damaged packet; a second one behind it a lost boundary.
            let following = *self.pending.get(Packet::SIZE)?;
            if Packet::is_sync_byte(following) {
                self.sync_byte_errors += 1;
                self.pending.drain(..Packet::SIZE);
            } else {
                self.sync_losses += 1;
                self.in_sync = false;
            }
        }
    }

    /// Moves to the first byte that has sync bytes one and two packets behind it.
    fn find_sync(&mut self) -> bool {
        let is_sync = |offset: usize| self.pending.get(offset).copied().is_some_and(Packet::is_sync_byte);
        let searchable = self.pending.len().saturating_sub(LOOK_AHEAD);
        let found = (0..searchable)
            .find(|start| [0, 1, 2].iter().all(|packet| is_sync(start + packet * Packet::SIZE)));
        let skipped = found.unwrap_or(searchable);
        self.pending.drain(..skipped);
        self.skipped_bytes += skipped as u64;
        self.in_sync = found.is_some();
        self.in_sync
    }
}

/// Bytes behind a sync byte that must be there to believe it.
const LOOK_AHEAD: usize = 2 * Packet::SIZE;

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
