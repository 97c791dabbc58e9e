use proptest::prelude::*;

use super::synthetic::{AUDIO_PID, AUDIO_STEP, Adaptation, TsPacket, VIDEO_PID, VIDEO_STEP, Writer};
use super::*;

/// Each packet 1 ms after the other.
fn check(packets: &[TsPacket]) -> Report {
    let mut checker = Checker::new();
    for (number, packet) in (0..).zip(packets) {
        checker.feed(Duration::from_millis(number), packet);
    }
    checker.report(Duration::from_millis(packets.len() as u64))
}

fn pid_of(packet: &TsPacket) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}

fn starts(packet: &TsPacket) -> bool {
    packet[1] & 0x40 != 0
}

/// The place of the `n`th packet of a PID that does or does not start a unit.
fn place(packets: &[TsPacket], pid: u16, start: bool, n: usize) -> usize {
    let mut places =
        (0..packets.len()).filter(|i| pid_of(&packets[*i]) == pid && starts(&packets[*i]) == start);
    places.nth(n).unwrap()
}

/// Sync, continuity, clock and time stamps: everything that must be zero in a right stream.
fn defects(report: &Report) -> [u64; 10] {
    let tracks = [report.video.unwrap(), report.audio.unwrap()];
    [
        report.sync_byte_errors,
        report.sync_losses,
        report.skipped_bytes,
        report.transport_errors,
        report.continuity_errors(),
        report.clock.too_long + report.clock.backwards,
        report.table_changes,
        tracks.iter().map(|track| track.pts_backwards + track.dts_backwards).sum(),
        tracks.iter().map(|track| track.damaged).sum(),
        tracks.iter().map(|track| track.unreadable).sum(),
    ]
}

#[test]
fn a_right_stream_has_no_defect() {
    let packets = Writer::stream(4, 1000);
    let report = check(&packets);
    assert_eq!(defects(&report), [0; 10]);
    assert_eq!(report.bytes, ByteCount::new(packets.len() as u64 * 188));
    assert_eq!(report.packets, packets.len() as u64);
    assert_eq!((report.pat_sections, report.pmt_sections), (40, 40));
    let streams = [(VIDEO_PID, Codec::H264), (AUDIO_PID, Codec::Aac)];
    assert_eq!(report.streams, streams.map(|(pid, codec)| Stream { pid, codec }));
    let video = report.video.unwrap();
    assert_eq!((video.units, video.keys), (120, 4));
    assert_eq!(
        (video.first_pts, video.last_pts),
        (Some(Ticks::new(1000)), Some(Ticks::new(1000 + 119 * VIDEO_STEP)))
    );
    assert_eq!(video.span, timing::ticks(119 * VIDEO_STEP as i64));
    assert_eq!(video.longest_step, timing::ticks(VIDEO_STEP as i64));
    assert_eq!(video.bytes, ByteCount::new(120 * 800));
    let audio = report.audio.unwrap();
    assert_eq!((audio.units, audio.sound_frames), (186, 186));
    assert_eq!(audio.longest_step, timing::ticks(AUDIO_STEP as i64));
    assert_eq!(report.clock.references, 120);
    assert_eq!(report.clock.longest_interval, timing::ticks(VIDEO_STEP as i64));
}

#[test]
fn time_stamps_may_go_round() {
    let report = check(&Writer::stream(4, (1 << 33) - 50_000));
    assert_eq!(defects(&report), [0; 10]);
    assert_eq!(report.video.unwrap().span, timing::ticks(119 * VIDEO_STEP as i64));
}

#[test]
fn cut_anywhere_it_is_the_same_stream() {
    let packets = Writer::stream(1, 0);
    let bytes = packets.concat();
    let whole = check(&packets);
    for size in [1, 7, 187, 189, 1316, 5000] {
        let mut checker = Checker::new();
        bytes.chunks(size).for_each(|piece| checker.feed(Duration::ZERO, piece));
        let report = checker.report(Duration::ZERO);
        assert_eq!(report.packets, whole.packets, "{size}");
        assert_eq!(defects(&report), [0; 10]);
    }
}

#[test]
fn joining_in_the_middle_is_no_defect() {
    let packets = Writer::stream(2, 0);
    let bytes = &packets.concat()[100 * 188 + 77..];
    let mut checker = Checker::new();
    checker.feed(Duration::ZERO, bytes);
    let report = checker.report(Duration::ZERO);
    assert_eq!(report.skipped_bytes, 188 - 77);
    assert_eq!(&defects(&report)[..2], [0, 0]);
    assert_eq!(&defects(&report)[3..], [0; 7]);
    assert_eq!(report.packets as usize, packets.len() - 101);
}

#[test]
fn a_missing_packet_is_one_continuity_error_and_one_damaged_frame() {
    let mut packets = Writer::stream(2, 0);
    packets.remove(place(&packets, VIDEO_PID, false, 50));
    let report = check(&packets);
    assert_eq!(defects(&report), [0, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
    let pid = report.pids[&VIDEO_PID];
    assert_eq!((pid.errors, pid.missing_at_least), (1, 1));
    assert_eq!(report.pids[&AUDIO_PID].errors, 0);
    assert_eq!(report.video.unwrap().units, 60);
}

#[test]
fn a_missing_start_loses_the_frame_too() {
    let mut packets = Writer::stream(2, 0);
    packets.remove(place(&packets, VIDEO_PID, true, 10));
    let report = check(&packets);
    assert_eq!(report.continuity_errors(), 1);
    let video = report.video.unwrap();
    assert_eq!((video.units, video.damaged), (59, 1));
    assert_eq!(video.longest_step, timing::ticks(2 * VIDEO_STEP as i64));
}

#[test]
fn a_missing_packet_of_sound_is_seen() {
    let mut packets = Writer::stream(2, 0);
    packets.remove(place(&packets, AUDIO_PID, true, 30));
    let report = check(&packets);
    assert_eq!(report.continuity_errors(), 1);
    assert_eq!(report.pids[&AUDIO_PID].errors, 1);
    assert_eq!(report.audio.unwrap().longest_step, timing::ticks(2 * AUDIO_STEP as i64));
}

#[test]
fn a_gap_that_the_transport_announces_is_excused_once_for_each_pid() {
    let packets = Writer::stream(2, 0);
    let mut checker = Checker::new();
    for (number, packet) in packets.iter().enumerate() {
        // Seven packets, a message of SRT, are given up twice; the second time in silence.
        if (70..77).contains(&number) || (200..207).contains(&number) {
            continue;
        }
        if number == 77 {
            checker.gap();
        }
        checker.feed(Duration::ZERO, packet);
    }
    let report = checker.report(Duration::ZERO);
    assert!(report.excused_gaps() >= 1, "{report:?}");
    assert!(report.continuity_errors() >= 1, "{report:?}");
    let missing: u64 = report.pids.values().map(|pid| pid.missing_at_least).sum();
    assert_eq!(missing, 14);
}

#[test]
fn a_packet_may_be_sent_twice_but_not_three_times() {
    let packets = Writer::stream(2, 0);
    let at = place(&packets, VIDEO_PID, false, 50);
    let mut twice = packets.clone();
    twice.insert(at, packets[at]);
    let report = check(&twice);
    assert_eq!(defects(&report), [0; 10]);
    assert_eq!(report.pids[&VIDEO_PID].duplicates, 1);
    let mut thrice = twice;
    thrice.insert(at, packets[at]);
    assert_eq!(check(&thrice).continuity_errors(), 1);
}

#[test]
fn swapped_packets_are_errors() {
    let mut packets = Writer::stream(2, 0);
    let at = place(&packets, VIDEO_PID, false, 49);
    assert_eq!(pid_of(&packets[at + 1]), VIDEO_PID);
    packets.swap(at, at + 1);
    assert_eq!(check(&packets).continuity_errors(), 3);
}

#[test]
fn an_announced_jump_is_none() {
    let mut writer = Writer::default();
    writer.tables();
    writer.video(0, true, 0);
    let mut other = Writer::default();
    let discontinuity = Adaptation { pcr: Some(500_000), discontinuity: true, random_access: true };
    other.packet(VIDEO_PID, true, discontinuity, &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0]);
    let report = check(&[writer.packets, other.packets].concat());
    assert_eq!((report.continuity_errors(), report.pids[&VIDEO_PID].announced_jumps), (0, 1));
    assert_eq!(report.clock.too_long, 0);
    // A PES packet without a PTS is not a frame.
    assert_eq!(report.video.unwrap().unreadable, 1);
}

#[test]
fn one_wrong_sync_byte_is_one_lost_packet() {
    let mut packets = Writer::stream(2, 0);
    let at = place(&packets, VIDEO_PID, false, 50);
    packets[at][0] = 0x46;
    let report = check(&packets);
    assert_eq!(defects(&report), [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
}

#[test]
fn lost_boundaries_are_found_again() {
    let packets = Writer::stream(2, 0);
    let at = place(&packets, VIDEO_PID, false, 50);
    let mut bytes = packets.concat();
    bytes.drain(at * 188 + 100..at * 188 + 150);
    let mut checker = Checker::new();
    checker.feed(Duration::ZERO, &bytes);
    let report = checker.report(Duration::ZERO);
    assert_eq!((report.sync_losses, report.sync_byte_errors), (1, 0));
    // The shortened packet swallowed the head of the next, whose tail is skipped.
    assert_eq!(report.skipped_bytes, 188 - 50);
    assert_eq!(report.packets as usize, packets.len() - 1);
}

#[test]
fn a_packet_marked_as_damaged_is_not_believed() {
    let mut packets = Writer::stream(2, 0);
    let at = place(&packets, VIDEO_PID, false, 50);
    packets[at][1] |= 0x80;
    assert_eq!(defects(&check(&packets)), [0, 0, 0, 1, 1, 0, 0, 0, 1, 0]);
}

#[test]
fn a_table_with_a_wrong_checksum_is_not_one() {
    let mut packets = Writer::stream(1, 0);
    let at = place(&packets, 0, true, 3);
    packets[at][14] ^= 1;
    let report = check(&packets);
    assert_eq!((report.pat_sections, report.pmt_sections), (9, 10));
    assert_eq!(defects(&report), [0; 10]);
}

#[test]
fn time_stamps_and_clock_that_run_backwards_are_seen() {
    let mut writer = Writer::default();
    writer.tables();
    for (number, pts) in [0, 3000, 6000, 3000, 9000, 9000, 12_000].into_iter().enumerate() {
        writer.audio(pts);
        writer.video(pts, number == 0, pts);
    }
    let report = check(&writer.packets);
    let video = report.video.unwrap();
    // 3000 after 6000, and 9000 after 9000.
    assert_eq!((video.pts_backwards, video.dts_backwards), (2, 2));
    assert_eq!(report.backward_timestamps(), 4);
    assert_eq!(report.clock.backwards, 1);
}

#[test]
fn a_gap_in_time_is_measured() {
    let mut writer = Writer::default();
    writer.tables();
    for pts in [0, 3000, 48_000, 51_000] {
        writer.video(pts, true, pts);
        writer.audio(pts);
    }
    let report = check(&writer.packets);
    assert_eq!(report.video.unwrap().longest_step, Duration::from_millis(500));
    assert_eq!(report.clock.longest_interval, Duration::from_millis(500));
    assert_eq!((report.clock.too_long, report.clock.backwards), (1, 0));
}

#[test]
fn a_stream_without_sound_has_none() {
    let mut packets = Writer::stream(1, 0);
    packets.retain(|packet| pid_of(packet) != AUDIO_PID);
    assert_eq!(check(&packets).audio.unwrap().units, 0);
}

#[test]
fn the_lag_is_that_of_whole_frames() {
    let mut checker = Checker::new();
    let mut writer = Writer::default();
    writer.tables();
    for frame in 0..3 {
        writer.video(frame * 9000, frame == 0, frame * 9000);
    }
    // Frame n has PTS n × 100 ms; its last packet arrives at n × 100 ms + 40, + 60, + 50 ms.
    let mut frame = 0;
    let mut bytes = Vec::new();
    let mut packets = writer.packets.iter().peekable();
    while let Some(packet) = packets.next() {
        bytes.extend(packet);
        let last_of_frame = packets.peek().is_none_or(|next| starts(next)) && pid_of(packet) == VIDEO_PID;
        if last_of_frame {
            let at = Duration::from_millis(frame * 100 + [40, 60, 50][frame as usize]);
            checker.feed(at, &std::mem::take(&mut bytes));
            frame += 1;
        }
    }
    // The third is not complete before a fourth begins.
    let lag = checker.report(Duration::ZERO).video.unwrap().lag.unwrap();
    assert_eq!((lag.newest, lag.smallest), (Ticks::new(60 * 90), Ticks::new(40 * 90)));
    assert_eq!(lag.spread, Duration::from_millis(20));
}

proptest! {
    #[test]
    fn no_bytes_panic(noise in proptest::collection::vec(any::<u8>(), 0..3000), at in 0_usize..20_000) {
        let mut bytes = Writer::stream(1, 0).concat();
        let at = at.min(bytes.len());
        bytes.splice(at..at, noise);
        let mut checker = Checker::new();
        checker.feed(Duration::ZERO, &bytes);
        prop_assert_eq!(checker.report(Duration::ZERO).bytes, ByteCount::new(bytes.len() as u64));
    }

    #[test]
    fn no_flipped_byte_panics(flips in proptest::collection::vec((0_usize..30_000, any::<u8>()), 1..40)) {
        let mut bytes = Writer::stream(1, 0).concat();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        Checker::new().feed(Duration::ZERO, &bytes);
    }
}
