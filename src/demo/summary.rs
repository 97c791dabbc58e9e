//! What the demonstration says in the end: a table, and whether all is well.

use std::time::Duration;

use super::alignment::Alignment;
use super::receiver::Reception;
use super::status::write_to;
use crate::link::relay::RelayCounters;
use crate::units::{Bitrate, ByteCount};

/// All that the table is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Since the first encoded picture; zero without one.
    pub elapsed: Duration,
    /// The encoder's element, such as `x264enc`.
    pub encoder: String,
    /// The link, as `--link` spells it; empty for a perfect one.
    pub link: String,
    /// Whether the stream was meant to have sound.
    pub sound_expected: bool,
    pub sender: SenderTotals,
    pub relay: RelayCounters,
    pub reception: Reception,
    /// Why no picture was encoded at all, where none was.
    pub nothing_encoded: Option<String>,
    /// Why the source never gave a picture, where it did not: then all that was sent, if anything, is the slate.
    pub source_missing: Option<String>,
    /// The file that the stream was saved to.
    pub saved_to: Option<String>,
}

/// What our side counted, over the whole time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderTotals {
    pub target: Bitrate,
    pub frames_encoded: u64,
    /// Frames dropped before the encoder, because the machine was not ready for them.
    pub frames_dropped: u64,
    /// Frames left out before the network, in whole groups, because the link had no room for them.
    pub frames_left_out: u64,
    pub encoded: ByteCount,
    /// SRT data packets and their bytes, retransmissions included in `sent`.
    pub sent_packets: u64,
    pub sent: ByteCount,
    pub retransmitted_packets: u64,
    pub acknowledged: ByteCount,
    /// Given up as too late.
    pub late_packets: u64,
    pub rtt: Duration,
}

/// How the demonstration went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is missing.
    Clean,
    /// What is missing was given up as too late, and nothing else is wrong.
    LateOnly { gaps: u64 },
    /// These things are wrong.
    Defective(Vec<String>),
}

impl Verdict {
    pub fn of(summary: &Summary) -> Self {
        let defects = defects(summary);
        let gaps = summary.reception.srt.gaps;
        match (defects.is_empty(), gaps + summary.reception.stream.excused_gaps()) {
            (false, _) => Verdict::Defective(defects),
            (true, 0) => Verdict::Clean,
            // Gaps of the transport are counted where it delivered one: each may break several PIDs.
            (true, _) => Verdict::LateOnly { gaps },
        }
    }

    /// Whether the receiver saw no gap beyond packets that were counted as too late.
    pub fn is_success(&self) -> bool {
        match self {
            Verdict::Clean | Verdict::LateOnly { .. } => true,
            Verdict::Defective(_) => false,
        }
    }
}

/// The table, several lines, each with an end.
pub fn table(summary: &Summary) -> String {
    let link = if summary.link.is_empty() { "a perfect link" } else { &summary.link };
    let encoder = if summary.encoder.is_empty() { "no encoder" } else { &summary.encoder };
    let mut table = format!("\n{} seconds with {encoder} over {link}\n", summary.elapsed.as_secs());
    let rows = [
        ("picture", picture(summary)),
        ("sound", sound(summary)),
        ("A/V", alignment(&summary.reception)),
        ("rates", rates(summary)),
        ("link", link_row(&summary.relay)),
        ("SRT", srt(summary)),
        ("delay", delay(&summary.reception)),
        ("stream", stream(&summary.reception)),
    ];
    for (name, text) in rows.into_iter().filter(|(_, text)| !text.is_empty()) {
        write_to(&mut table, format_args!("  {name:<8} {text}\n"));
    }
    if let Some(path) = &summary.saved_to {
        let saved = summary.reception.saved.get() as f64 / 1e6;
        write_to(&mut table, format_args!("  saved    {saved:.1} MB in {path}\n"));
    }
    match Verdict::of(summary) {
        Verdict::Clean if left_out(&summary.sender) == 0 => {
            table.push_str("  verdict  clean: everything arrived, in order and in time\n");
        }
        Verdict::Clean => write_to(
            &mut table,
            format_args!(
                "  verdict  clean: everything that was sent arrived, in order and in time; but {} pictures were \
                 left out before, since the link or this machine is too slow for them\n",
                left_out(&summary.sender)
            ),
        ),
        Verdict::LateOnly { gaps } => write_to(
            &mut table,
            format_args!(
                "  verdict  late: the link held packets back too long {}; nothing else is wrong\n",
                times(gaps)
            ),
        ),
        Verdict::Defective(defects) => {
            for defect in defects {
                write_to(&mut table, format_args!("  verdict  DEFECT: {defect}\n"));
            }
        }
    }
    table
}

fn left_out(sender: &SenderTotals) -> u64 {
    sender.frames_dropped + sender.frames_left_out
}

fn defects(summary: &Summary) -> Vec<String> {
    let reception = &summary.reception;
    let stream = &reception.stream;
    let mut defects = Vec::new();
    let mut complain = |when: bool, what: String| {
        if when {
            defects.push(what);
        }
    };
    if let Some(failure) = &reception.failure {
        complain(true, format!("the receiver failed: {failure}"));
    }
    if let Some(reason) = &summary.source_missing {
        let sent = match summary.nothing_encoded {
            Some(_) => "", // not even the slate
            None => ", what was sent is the slate",
        };
        complain(true, format!("the source never gave a picture{sent}: {reason}"));
    }
    if let Some(reason) = &summary.nothing_encoded {
        complain(true, format!("no picture was encoded: {reason}"));
        return defects; // what did not arrive follows from that
    }
    complain(stream.bytes == ByteCount::ZERO, "nothing arrived".to_owned());
    let has = |units: Option<u64>| units.is_some_and(|units| units > 0);
    if stream.bytes > ByteCount::ZERO {
        complain(!has(stream.video.map(|track| track.units)), "no picture arrived".to_owned());
        let silent = summary.sound_expected && !has(stream.audio.map(|track| track.units));
        complain(silent, "no sound arrived".to_owned());
    }
    let counts = [
        (stream.continuity_errors(), "continuity errors that no late packet explains"),
        (stream.sync_losses + stream.sync_byte_errors, "losses of the packet boundaries"),
        (stream.transport_errors, "packets marked as damaged"),
        (stream.backward_timestamps(), "time stamps that do not rise"),
        (stream.clock.backwards, "steps backwards of the program clock"),
    ];
    for (count, what) in counts {
        complain(count > 0, format!("{count} {what}"));
    }
    if let Some(error) = &reception.save_error {
        complain(true, format!("saving stopped: {error}"));
    }
    defects
}

fn picture(summary: &Summary) -> String {
    let SenderTotals { frames_encoded, .. } = summary.sender;
    let left_out = left_out(&summary.sender);
    let Some(video) = summary.reception.stream.video else {
        return format!("{frames_encoded} frames encoded, none received");
    };
    // The frames between the sender's last status and its encoder's end are counted by the receiver only.
    let frames_encoded = frames_encoded.max(video.units);
    format!(
        "{frames_encoded} frames encoded, {left_out} left out, {} received{}, {} of them key frames, \
         {} damaged; longest step {} ms",
        video.units,
        share(video.units, frames_encoded),
        video.keys,
        video.damaged,
        video.longest_step.as_millis()
    )
}

fn sound(summary: &Summary) -> String {
    match summary.reception.stream.audio {
        Some(audio) => format!(
            "{} {} frames received, {} damaged; longest step {} ms",
            audio.sound_frames,
            audio.codec.name(),
            audio.damaged,
            audio.longest_step.as_millis()
        ),
        None if summary.sound_expected => "none received".to_owned(),
        None => "none".to_owned(),
    }
}

/// Empty where it was not measured.
fn alignment(reception: &Reception) -> String {
    let Some(Alignment { marks, offset_ms, smallest_ms, largest_ms }) = reception.alignment else {
        return String::new();
    };
    let side = if offset_ms < 0.0 { "before" } else { "behind" };
    format!(
        "the sound is {:.1} ms {side} the picture ({smallest_ms:.1} to {largest_ms:.1} ms at {marks} flashes and beeps)",
        offset_ms.abs()
    )
}

fn rates(summary: &Summary) -> String {
    let mean = |bytes: ByteCount| bytes / summary.elapsed;
    let SenderTotals { target, encoded, sent, acknowledged, .. } = summary.sender;
    format!(
        "target {target} in the end; on average encoded {}, sent {}, acknowledged {}, received {}",
        mean(encoded),
        mean(sent),
        mean(acknowledged),
        mean(summary.reception.stream.bytes)
    )
}

fn link_row(relay: &RelayCounters) -> String {
    let up = relay.up.link;
    let cross = match relay.cross.packets {
        0 => String::new(),
        packets => format!(" ({packets} of somebody else's got through)"),
    };
    format!(
        "{} packets up{cross}, of which {} lost at random, {} in a full queue, {} in an outage; {} packets down, {} dropped",
        up.offered.packets,
        up.lost.packets,
        up.queue_drops.packets,
        up.outage_drops.packets,
        relay.down.link.offered.packets,
        relay.down.link.offered.packets - relay.down.link.delivered.packets
    )
}

fn srt(summary: &Summary) -> String {
    let SenderTotals { sent_packets, retransmitted_packets, late_packets, rtt, .. } = summary.sender;
    let received = summary.reception.srt;
    format!(
        "{sent_packets} packets sent, {retransmitted_packets} again{}, {late_packets} too late; the receiver \
         gave up {}; RTT {} ms; {}",
        share(retransmitted_packets, sent_packets),
        times(received.gaps),
        rtt.as_millis(),
        match received.connections {
            1 => "1 connection".to_owned(),
            count => format!("{count} connections"),
        }
    )
}

fn delay(reception: &Reception) -> String {
    match reception.delay {
        Some(delay) => format!(
            "{} to {} ms from the capture of a frame to its arrival behind the receiver's buffer",
            delay.smallest.as_millis(),
            delay.largest.as_millis()
        ),
        None => match reception.stream.video.and_then(|video| video.lag) {
            Some(lag) => format!("unknown (another clock); arrival varied by {} ms", lag.spread.as_millis()),
            None => "unknown".to_owned(),
        },
    }
}

fn stream(reception: &Reception) -> String {
    let stream = &reception.stream;
    format!(
        "{} continuity errors and {} behind late packets, {} losses of sync, {} time stamps backwards; \
         clock every {} ms at most; tables changed {}",
        stream.continuity_errors(),
        stream.excused_gaps(),
        stream.sync_losses + stream.sync_byte_errors,
        stream.backward_timestamps(),
        stream.clock.longest_interval.as_millis(),
        times(stream.table_changes)
    )
}

fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => String::new(),
        whole => format!(" ({:.1} %)", part as f64 * 100.0 / whole as f64),
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::checker::{Codec, PidReport, TrackReport};
    use crate::demo::receiver::{Delay, SrtReport};
    use crate::link::{Counters, Traffic};

    fn track(codec: Codec, units: u64) -> TrackReport {
        TrackReport {
            pid: 0x41,
            codec,
            units,
            keys: 10,
            sound_frames: units,
            damaged: 0,
            unreadable: 0,
            bytes: ByteCount::new(7_000_000),
            first_pts: None,
            last_pts: None,
            span: Duration::from_secs(20),
            pts_backwards: 0,
            dts_backwards: 0,
            longest_step: Duration::from_millis(33),
            lag: None,
        }
    }

    fn summary() -> Summary {
        let mut summary = Summary {
            elapsed: Duration::from_secs(20),
            encoder: "x264enc".to_owned(),
            link: "rate=6500k,loss=0.02".to_owned(),
            sound_expected: true,
            sender: SenderTotals {
                target: Bitrate::from_kbps(3000),
                frames_encoded: 600,
                frames_left_out: 0,
                frames_dropped: 0,
                encoded: ByteCount::new(7_250_000),
                sent_packets: 6000,
                sent: ByteCount::new(8_000_000),
                retransmitted_packets: 120,
                acknowledged: ByteCount::new(7_750_000),
                late_packets: 0,
                rtt: Duration::from_millis(51),
            },
            ..Summary::default()
        };
        let traffic = |packets| Traffic { packets, bytes: ByteCount::new(packets * 1360) };
        summary.relay.up.link = Counters {
            offered: traffic(6100),
            delivered: traffic(5980),
            lost: traffic(120),
            ..Counters::default()
        };
        summary.relay.down.link =
            Counters { offered: traffic(2000), delivered: traffic(2000), ..Counters::default() };
        let reception = &mut summary.reception;
        reception.stream.bytes = ByteCount::new(7_500_000);
        reception.stream.video = Some(track(Codec::H264, 597));
        reception.stream.audio = Some(track(Codec::Aac, 935));
        reception.stream.clock.longest_interval = Duration::from_millis(34);
        let ms = Duration::from_millis;
        reception.delay = Some(Delay { newest: ms(540), smallest: ms(531), largest: ms(602) });
        reception.srt = SrtReport { connections: 1, gaps: 0, restarts: 0 };
        summary
    }

    #[test]
    fn a_clean_run_reads_well() {
        let expected = "
20 seconds with x264enc over rate=6500k,loss=0.02
  picture  600 frames encoded, 0 left out, 597 received (99.5 %), 10 of them key frames, 0 damaged; longest step 33 ms
  sound    935 AAC frames received, 0 damaged; longest step 33 ms
  rates    target 3.0 Mbit/s in the end; on average encoded 2.9 Mbit/s, sent 3.2 Mbit/s, acknowledged 3.1 Mbit/s, received 3.0 Mbit/s
  link     6100 packets up, of which 120 lost at random, 0 in a full queue, 0 in an outage; 2000 packets down, 0 dropped
  SRT      6000 packets sent, 120 again (2.0 %), 0 too late; the receiver gave up 0 times; RTT 51 ms; 1 connection
  delay    531 to 602 ms from the capture of a frame to its arrival behind the receiver's buffer
  stream   0 continuity errors and 0 behind late packets, 0 losses of sync, 0 time stamps backwards; clock every 34 ms at most; tables changed 0 times
  verdict  clean: everything arrived, in order and in time
";
        assert_eq!(table(&summary()), expected);
        assert!(Verdict::of(&summary()).is_success());
    }

    #[test]
    fn late_packets_are_not_a_defect() {
        let mut summary = summary();
        summary.reception.srt.gaps = 2;
        summary.reception.stream.pids.insert(0x41, PidReport { excused: 3, ..PidReport::default() });
        assert_eq!(Verdict::of(&summary), Verdict::LateOnly { gaps: 2 });
        assert!(Verdict::of(&summary).is_success());
        assert!(table(&summary).contains("verdict  late: the link held packets back too long 2 times"));
    }

    #[test]
    fn each_defect_is_named_and_fails() {
        let check = |change: fn(&mut Summary), expected: &str| {
            let mut summary = summary();
            change(&mut summary);
            let verdict = Verdict::of(&summary);
            assert_eq!(verdict, Verdict::Defective(vec![expected.to_owned()]));
            assert!(!verdict.is_success());
            assert!(table(&summary).contains(&format!("DEFECT: {expected}")));
        };
        check(
            |s| {
                s.reception
                    .stream
                    .pids
                    .insert(0x41, PidReport { errors: 4, excused: 1, ..PidReport::default() });
            },
            "4 continuity errors that no late packet explains",
        );
        check(|s| s.reception.stream.sync_losses = 1, "1 losses of the packet boundaries");
        check(|s| s.reception.stream.transport_errors = 2, "2 packets marked as damaged");
        check(|s| s.reception.stream.clock.backwards = 2, "2 steps backwards of the program clock");
        check(
            |s| {
                s.reception.stream.video.as_mut().unwrap().dts_backwards = 5;
            },
            "5 time stamps that do not rise",
        );
        check(|s| s.reception.stream.video = None, "no picture arrived");
        check(|s| s.reception.stream.audio = None, "no sound arrived");
        check(|s| s.reception.save_error = Some("disk full".to_owned()), "saving stopped: disk full");
        check(|s| s.reception.failure = Some("no socket".to_owned()), "the receiver failed: no socket");
        check(|s| s.reception = Reception::default(), "nothing arrived");
        check(
            |s| {
                s.reception = Reception::default();
                s.nothing_encoded = Some("no encoder is here".to_owned());
            },
            "no picture was encoded: no encoder is here",
        );
        check(
            |s| s.source_missing = Some("no such file".to_owned()),
            "the source never gave a picture, what was sent is the slate: no such file",
        );
    }

    #[test]
    fn where_nothing_was_encoded_no_slate_was_sent() {
        let mut summary = summary();
        summary.reception = Reception::default();
        summary.nothing_encoded = Some("trying x264enc".to_owned());
        summary.source_missing = Some("waiting for the source".to_owned());
        let expected = [
            "the source never gave a picture: waiting for the source",
            "no picture was encoded: trying x264enc",
        ];
        assert_eq!(Verdict::of(&summary), Verdict::Defective(expected.map(str::to_owned).into()));
        assert!(!table(&summary).contains("slate"), "{}", table(&summary));
    }

    #[test]
    fn the_offset_of_the_sound_is_told_where_it_was_measured() {
        let mut summary = summary();
        assert!(!table(&summary).contains("A/V"));
        let found = Alignment { marks: 18, offset_ms: -3.04, smallest_ms: -4.0, largest_ms: 1.0 };
        summary.reception.alignment = Some(found);
        let row = "A/V      the sound is 3.0 ms before the picture (-4.0 to 1.0 ms at 18 flashes and beeps)";
        assert!(table(&summary).contains(row), "{}", table(&summary));
    }

    #[test]
    fn silence_that_was_asked_for_is_well() {
        let mut summary = summary();
        summary.sound_expected = false;
        summary.reception.stream.audio = None;
        assert!(Verdict::of(&summary).is_success());
    }

    #[test]
    fn without_a_common_clock_the_delay_is_said_to_be_unknown() {
        let mut summary = summary();
        summary.reception.delay = None;
        assert!(table(&summary).contains("  delay    unknown"));
    }
}
