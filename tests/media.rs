//! The pipelines, run for real: what comes out is judged by ffprobe and ffmpeg, or by its timestamps.
//!
//! Each test runs for a few seconds of real time. They share one machine, so limits leave room for
//! a loaded one; what they assert are orders (rising, none missing), not speed.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "calm/mod.rs"]
mod calm;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use calm::calmly;
use tokio::sync::mpsc::Receiver;
use uplinkd::config::{self, Stream};
use uplinkd::media::{
    self, Capture, Encode, MediaEvent, Mux, Picture, Reduction, Severity, Track, Tracks, Unit,
};
use uplinkd::units::{Bitrate, ByteCount};

#[test]
fn the_test_source_becomes_a_transport_stream_that_ffmpeg_reads() {
    calmly(3, || {
        let rig = Rig::start(&stream("source = 'test'", "source = 'test'"));
        rig.run(5.0);
        let units = rig.stop();
        let frames = video(&units).count();
        assert!((140..=155).contains(&frames), "{frames} frames in 5 s");
        let ts = File::of(&mux(&units, |_, _| true));
        assert_eq!(ts.codecs(), ["aac", "h264"]);
        assert_eq!(ts.decode_complaints(), "");
        assert_eq!(ts.decoded_frames(), frames);
    });
}

#[test]
fn opus_in_a_transport_stream_is_read_by_ffmpeg_too() {
    calmly(3, || {
        let rig =
            Rig::start(&stream("source = 'test'", "source = 'test'\ncodec = 'opus'\nbitrate_kbps = 256"));
        rig.run(3.0);
        let ts = File::of(&mux_with(config::AudioCodec::Opus, &rig.stop(), |_, _| true));
        assert_eq!(ts.codecs(), ["h264", "opus"]);
        assert_eq!(ts.decode_complaints(), "");
    });
}

#[test]
fn going_to_the_slate_and_back_keeps_the_pace() {
    calmly(3, || {
        for slate in ["text", "hold"] {
            let rig = Rig::start(&stream(&format!("source = 'test'\nslate = '{slate}'"), "source = 'none'"));
            rig.run(1.5);
            for _ in 0..3 {
                let reason = "no <signal> & no cable".to_owned();
                rig.encode.show(Picture::Slate { reason });
                rig.run(0.7);
                rig.encode.show(Picture::Live);
                rig.run(0.7);
            }
            let (units, dropped) = rig.stop_and_count();
            // Two for the switch, and one that may be left out where live and slate come too close.
            assert_paced(&units, 3 + dropped);
        }
    });
}

#[test]
fn the_slate_is_on_air_soon_after_the_source_died() {
    calmly(3, || {
        let mut rig = Rig::start(&stream("source = 'test'", "source = 'test'"));
        rig.run(1.5);
        rig.capture = None;
        rig.run(0.3);
        let shown = Instant::now();
        rig.encode.show(Picture::Slate { reason: "unplugged".to_owned() });
        rig.run(1.5);
        rig.start_capture();
        rig.run(0.5);
        rig.encode.show(Picture::Live);
        rig.run(1.0);
        let units = rig.stop();

        let first = video(&units).find(|unit| unit.captured >= shown).unwrap();
        assert!(first.captured - shown < Duration::from_millis(100), "{:?}", first.captured - shown);
        assert_rising(&units, Track::Video);
        // Sound goes on through all of it, as silence in between.
        assert_rising(&units, Track::Audio);
        let longest = longest_step(&units, Track::Audio);
        assert!(longest < Duration::from_millis(30), "{longest:?} without sound");
    });
}

#[test]
fn a_slate_can_be_a_picture() {
    calmly(3, || {
        let directory = tempfile::tempdir().unwrap();
        let png = directory.path().join("slate.png");
        ffmpeg(&["-f", "lavfi", "-i", "color=red:s=200x100", "-frames:v", "1", &text(&png)]);
        let rig =
            Rig::start(&stream(&format!("source = 'test'\nslate = '{}'", png.display()), "source = 'none'"));
        rig.run(0.5);
        rig.encode.show(Picture::Slate { reason: String::new() });
        rig.run(1.5);
        let units = rig.stop();
        let ts = File::of(&mux(&units, |_, _| true));
        let (red, _, _) = ts.colour_in_the_middle_of_the_last_frame();
        assert!(red > 200, "the last frame shows the red picture");
    });
}

#[test]
fn a_capture_can_be_started_anew_while_the_encoder_runs() {
    calmly(3, || {
        let mut rig = Rig::start(&stream("source = 'test'", "source = 'test'"));
        for _ in 0..3 {
            rig.run(0.8);
            rig.capture = None;
            rig.start_capture();
        }
        rig.run(1.0);
        assert_eq!(rig.encode_events(), []);
        let units = rig.stop();
        assert_rising(&units, Track::Video);
        assert_rising(&units, Track::Audio);
        assert_eq!(File::of(&mux(&units, |_, _| true)).decode_complaints(), "");
    });
}

#[test]
fn what_a_revoked_capture_still_gives_is_ignored() {
    calmly(3, || {
        let mut rig = Rig::start(&stream("source = 'test'", "source = 'test'"));
        rig.run(0.8);
        rig.capture.as_ref().unwrap().revoke();
        let revoked = Instant::now();
        rig.run(0.5);
        let counters = rig.encode.counters();
        assert!(counters.last_live_frame.unwrap() <= revoked);
        let old = rig.capture.take();
        rig.start_capture();
        drop(old); // ends its own lease, and not its successor's
        rig.run(0.8);
        assert!(rig.encode.counters().last_live_frame.unwrap() > revoked + Duration::from_millis(500));
        assert!(rig.encode.counters().frames_in > counters.frames_in + 10);
    });
}

#[test]
fn a_file_is_looped_without_a_seam() {
    calmly(3, || {
        for extension in ["mp4", "mkv", "ts"] {
            let directory = tempfile::tempdir().unwrap();
            let clip = clip(directory.path(), extension, true);
            let mut rig = Rig::start(&stream(
                &format!("source = 'file'\npath = '{}'", clip.display()),
                "source = 'file'",
            ));
            rig.run(5.5);
            assert_eq!(
                rig.capture_events(),
                [MediaEvent::CaptureLive { format: "320x180 I420 30 fps".to_owned() }]
            );
            let (units, dropped) = rig.stop_and_count();
            // A pass takes 1.5 s: there were three seams.
            assert_paced(&units, 2 + dropped);
            assert!(longest_step(&units, Track::Audio) < Duration::from_millis(30));
            assert!(video(&units).count() > 140, "{extension}: {} frames", video(&units).count());
        }
    });
}

#[test]
fn a_file_whose_sound_is_longer_is_looped_at_the_end_of_its_picture() {
    calmly(3, || {
        for extension in ["mp4", "mkv", "ts"] {
            let directory = tempfile::tempdir().unwrap();
            let clip = clip_of(directory.path(), extension, 1.5, Some(4.0));
            let rig = Rig::start(&stream(
                &format!("source = 'file'\npath = '{}'", clip.display()),
                "source = 'file'",
            ));
            // Where tracks do not end on their own, the first pass has to be read to the end of its sound.
            rig.run(if extension == "mp4" { 0.5 } else { 5.0 });
            let steady = Instant::now();
            rig.run(5.0);
            let (units, dropped) = rig.stop_and_count();
            assert_rising(&units, Track::Audio);
            assert!(longest_step(&units, Track::Audio) < Duration::from_millis(30));
            let since: Vec<Unit> = units.into_iter().filter(|unit| unit.captured > steady).collect();
            assert_paced(&since, 2 + dropped);
            assert!(video(&since).count() > 130, "{extension}: {} frames", video(&since).count());
        }
    });
}

#[test]
fn a_file_without_sound_says_so_and_gets_silence() {
    calmly(3, || {
        let directory = tempfile::tempdir().unwrap();
        let clip = clip(directory.path(), "mp4", false);
        let mut rig =
            Rig::start(&stream(&format!("source = 'file'\npath = '{}'", clip.display()), "source = 'file'"));
        rig.run(2.0);
        let events = rig.capture_events();
        assert!(events.iter().any(|event| matches!(event, MediaEvent::SoundMissing { .. })), "{events:?}");
        let units = rig.stop();
        assert!(units.iter().filter(|unit| unit.track == Track::Audio).count() > 60);
        assert_eq!(File::of(&mux(&units, |_, _| true)).codecs(), ["aac", "h264"]);
    });
}

#[test]
fn what_is_no_film_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.mp4");
    std::fs::write(&path, "these are no pictures\n".repeat(100)).unwrap();
    let mut rig =
        Rig::start(&stream(&format!("source = 'file'\npath = '{}'", path.display()), "source = 'none'"));
    rig.run(1.0);
    let events = rig.capture_events();
    assert!(matches!(events.as_slice(), [MediaEvent::CaptureFailed { .. }]), "{events:?}");
    assert_eq!(rig.encode_events(), [], "the encoder does not notice");

    let missing = stream("source = 'file'\npath = '/nonexistent/film.mp4'", "source = 'none'");
    let error = Capture::start(&missing, &rig.encode.inputs(), media::events().0).err().unwrap();
    assert_eq!(error.to_string(), "cannot read /nonexistent/film.mp4");
}

#[test]
fn a_sound_device_that_is_not_there_leaves_the_picture_alone() {
    calmly(3, || {
        let mut rig = Rig::start(&stream("source = 'test'", "source = 'alsa'\ndevice = 'hw:CARD=None'"));
        rig.run(1.5);
        let events = rig.capture_events();
        assert!(
            matches!(events.as_slice(), [MediaEvent::SoundFailed { .. }, MediaEvent::CaptureLive { .. }]),
            "{events:?}"
        );
        let units = rig.stop();
        assert!(video(&units).count() > 30);
        assert!(
            units.iter().filter(|unit| unit.track == Track::Audio).count() > 45,
            "silence takes its place"
        );
    });
}

#[test]
fn sound_can_be_sent_later_or_earlier_than_it_was_heard() {
    calmly(3, || {
        for offset in [400, -400] {
            let rig =
                Rig::start(&stream("source = 'test'", &format!("source = 'test'\noffset_ms = {offset}")));
            rig.run(2.0);
            let (counters, stopped) = (rig.encode.counters(), Instant::now());
            let units = rig.stop();
            assert_eq!(counters.sound_dropped, 0);
            // Time that sound is held back on purpose does not count: an output would drop it as too late.
            let newest =
                units.iter().filter(|unit| unit.track == Track::Audio).map(|unit| unit.captured).max();
            let age = stopped.saturating_duration_since(newest.unwrap());
            assert!(age < Duration::from_millis(200), "{age:?}");
            assert_rising(&units, Track::Audio);
            assert!(longest_step(&units, Track::Audio) < Duration::from_millis(30));
        }
    });
}

#[test]
fn a_new_target_changes_the_rate_that_comes_out() {
    calmly(3, || {
        let rig = Rig::start(&stream("source = 'test'", "source = 'none'"));
        rig.encode.set_target(Bitrate::from_kbps(3_000));
        rig.run(4.0);
        let cut = Instant::now();
        rig.encode.set_target(Bitrate::from_kbps(600));
        rig.run(4.0);
        let units = rig.stop();
        let settled = Duration::from_secs(1);
        let high = rate(&units, cut - 3 * settled, cut);
        let low = rate(&units, cut + settled, cut + 4 * settled);
        assert!((500..=700).contains(&low.as_kbps()), "{low} for 600 kbit/s");
        assert!(high.as_kbps() > 2 * low.as_kbps() && high.as_kbps() < 3_300, "{high} for 3 Mbit/s");
    });
}

#[test]
fn a_forced_key_frame_comes_within_two_frames() {
    calmly(3, || {
        let rig = Rig::start(&stream("source = 'test'", "source = 'none'"));
        rig.run(2.5); // between two regular ones, at 2 s and 4 s
        let asked = Instant::now();
        rig.encode.force_key_frame();
        rig.run(0.5);
        let units = rig.stop();
        // The next frame to be coded may have been taken just before.
        let since = asked - Duration::from_millis(40);
        let later: Vec<bool> =
            video(&units).filter(|unit| unit.captured > since).map(|unit| unit.key).collect();
        assert!(later.iter().take(3).any(|key| *key), "{later:?}");
        assert_eq!(later.iter().filter(|key| **key).count(), 1, "just one");
    });
}

#[test]
fn thinning_leaves_out_its_share_and_lets_a_wanted_key_frame_through() {
    calmly(3, || {
        let rig = Rig::start(&stream("source = 'test'", "source = 'none'"));
        rig.run(1.0);
        let coded_and_thinned = |seconds| {
            let before = rig.encode.counters();
            rig.run(seconds);
            let after = rig.encode.counters();
            (after.frames_out - before.frames_out, after.frames_thinned - before.frames_thinned)
        };
        rig.encode.set_thinning(2.0 / 3.0);
        let (coded, thinned) = coded_and_thinned(3.0);
        assert!(
            (25..=35).contains(&coded) && (55..=65).contains(&thinned),
            "{coded} coded, {thinned} left out"
        );
        rig.encode.set_thinning(1.0);
        rig.run(0.2);
        let (coded, thinned) = coded_and_thinned(1.0);
        assert!(coded == 0 && (28..=32).contains(&thinned), "{coded} coded, {thinned} left out");
        let asked = Instant::now();
        rig.encode.force_key_frame();
        assert_eq!(coded_and_thinned(0.5).0, 1, "the key frame, and nothing else");
        rig.encode.set_thinning(0.0);
        assert!(coded_and_thinned(1.0).0 >= 28);

        let units = rig.stop();
        let wanted = video(&units).find(|unit| unit.captured > asked - Duration::from_millis(40)).unwrap();
        assert!(wanted.key && wanted.captured < asked + Duration::from_millis(100));
        assert_rising(&units, Track::Video);
        assert_eq!(File::of(&mux(&units, |_, _| true)).decode_complaints(), "");
    });
}

#[test]
fn frame_rate_and_size_change_while_it_runs() {
    calmly(3, || {
        let mut rig = Rig::start(&stream("source = 'test'\nwidth = 640\nheight = 360", "source = 'test'"));
        let modes = [(1, 640, 360), (2, 640, 360), (2, 480, 270), (3, 320, 180), (1, 640, 360)];
        let mut changes = Vec::new();
        for (one_of, width, height) in modes {
            changes.push(Instant::now());
            rig.encode.reduce(Reduction { one_of, width, height }).unwrap();
            rig.encode.show(if width == 480 { slate() } else { Picture::Live }); // other caps, same mode
            rig.run(2.5);
        }
        assert_eq!(rig.encode_events(), []);
        let (units, dropped) = rig.stop_and_count();

        let steps = changes.iter().copied().zip(changes[1..].iter().copied().chain([Instant::now()]));
        for ((from, to), (one_of, ..)) in steps.zip(modes) {
            // A picture may be on its way when the mode changes.
            let (from, to) = (from + Duration::from_millis(100), to - Duration::from_millis(20));
            let within: Vec<&Unit> =
                video(&units).filter(|unit| (from..to).contains(&unit.captured)).collect();
            let expected = ((to - from).as_secs_f64() * 30.0 / f64::from(one_of)) as usize;
            let missing = expected.saturating_sub(within.len());
            assert!(
                missing <= 3 + dropped as usize && within.len() <= expected + 3,
                "1 of {one_of}: {} for {expected}",
                within.len()
            );
            assert!(within.iter().any(|unit| unit.key), "1 of {one_of}: a key frame each two seconds");
        }
        for change in &changes[1..] {
            let first = video(&units).find(|unit| unit.key && unit.captured > *change - FRAME).unwrap();
            assert!(first.captured < *change + 5 * FRAME, "{:?} to the key frame", first.captured - *change);
        }
        assert_paced(&units, 3 + 2 + dropped); // one of three, and two lost at the most
        let ts = File::of(&mux(&units, |_, _| true));
        assert_eq!(ts.decode_complaints(), "");
        assert_eq!(ts.decoded_frames(), video(&units).count(), "each of them is decoded");
        assert_eq!(ts.sizes(), ["640x360", "480x270", "320x180", "640x360"]);
    });
}

#[test]
fn a_mux_stands_pauses_and_missing_groups_of_pictures() {
    let rig = Rig::start(&stream("source = 'test'\nkeyframe_interval_ms = 500", "source = 'test'"));
    rig.run(6.0);
    let units = rig.stop();
    let start = units[0].captured;
    let mut is_wanted = false;
    let packets = mux(&units, |unit, mux| {
        let at = unit.captured.saturating_duration_since(start).as_secs_f64();
        if (2.0..3.5).contains(&at) {
            return false; // nothing at all: an outage, after which the receiver starts anew
        }
        if unit.track == Track::Video {
            if unit.key {
                // Every third group is left out; sound goes on.
                is_wanted = (at / 0.5) as u32 % 3 != 1;
                mux.resend_tables();
            }
            return is_wanted;
        }
        true
    });
    let ts = File::of(&packets);
    assert_eq!(ts.decode_complaints(), "");
    assert_eq!(ts.codecs(), ["aac", "h264"]);
    assert!(ts.times("v").is_sorted() && ts.times("a").is_sorted());
}

#[test]
fn what_the_machine_lacks_is_told_beforehand() {
    media::init().unwrap();
    let good = stream("source = 'test'", "source = 'silence'");
    assert_eq!(media::check(&good), []);
    let bad = stream(
        "source = 'file'\npath = '/nonexistent.mp4'\nencoder = 'vaapi'\nslate = '/nonexistent.png'",
        "source = 'file'",
    );
    let keys: Vec<&str> = media::check(&bad).iter().map(|finding| finding.key).collect();
    assert_eq!(keys, ["video.encoder", "video.path", "video.slate"]);
    let encoder = &media::check(&bad)[0];
    assert_eq!(encoder.severity, Severity::Warning, "another encoder takes its place");
    assert!(encoder.fix.ends_with("until then the stream runs with x264enc and is degraded"), "{encoder:?}");
    let nowhere = stream("source = 'test'\ncodec = 'h265'\nencoder = 'vaapi'", "source = 'silence'");
    assert_eq!(media::check(&nowhere)[0].severity, Severity::Error, "there is none of H.265");
    assert!(Encode::start(&bad, media::events().0, |_| ()).is_err());

    let directory = tempfile::tempdir().unwrap();
    let no_picture = directory.path().join("slate.png");
    std::fs::write(&no_picture, "this is no picture\n".repeat(100)).unwrap();
    let undecodable =
        stream(&format!("source = 'test'\nslate = '{}'", no_picture.display()), "source = 'none'");
    let findings = media::check(&undecodable);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains("is no picture that GStreamer decodes"), "{findings:?}");
    let started = Instant::now();
    drop(Encode::start(&undecodable, media::events().0, |_| ()).expect("it streams, with a dark slate"));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    let camera = stream("source = 'v4l2'\ndevice = 'by-id:usb-none'", "source = 'none'");
    let findings = media::check(&camera);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, media::Severity::Warning);

    let spare = stream(
        "source = 'test'\nfallback = [{ source = 'file', path = '/no/such/film.mp4' }]",
        "source = 'none'",
    );
    let findings = media::check(&spare);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].key, findings[0].severity), ("video.fallback", media::Severity::Warning));
}

/// An encode pipeline with a capture, and all that came out.
struct Rig {
    stream: Stream,
    encode: Encode,
    capture: Option<Capture>,
    units: Arc<Mutex<Vec<Unit>>>,
    encode_events: Receiver<MediaEvent>,
    capture_events: Receiver<MediaEvent>,
}

impl Rig {
    fn start(stream: &Stream) -> Rig {
        media::init().unwrap();
        let units = Arc::new(Mutex::new(Vec::new()));
        let (events, encode_events) = media::events();
        let sink = units.clone();
        let encode = Encode::start(stream, events, move |unit| sink.lock().unwrap().push(unit)).unwrap();
        let capture_events = media::events().1;
        let mut rig =
            Rig { stream: stream.clone(), encode, capture: None, units, encode_events, capture_events };
        rig.start_capture();
        rig
    }

    fn start_capture(&mut self) {
        let (events, capture_events) = media::events();
        self.capture = Some(Capture::start(&self.stream, &self.encode.inputs(), events).unwrap());
        self.capture_events = capture_events;
    }

    fn run(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds));
    }

    fn encode_events(&mut self) -> Vec<MediaEvent> {
        std::iter::from_fn(|| self.encode_events.try_recv().ok()).collect()
    }

    fn capture_events(&mut self) -> Vec<MediaEvent> {
        std::iter::from_fn(|| self.capture_events.try_recv().ok()).collect()
    }

    fn stop(self) -> Vec<Unit> {
        self.stop_and_count().0
    }

    /// All units, and how many pictures a machine that was too busy left out before the encoder.
    fn stop_and_count(self) -> (Vec<Unit>, u32) {
        drop(self.capture);
        let counters = self.encode.counters();
        self.encode.stop();
        let units = std::mem::take(&mut *self.units.lock().unwrap());
        let coded: ByteCount = video(&units).map(|unit| unit.size).sum();
        assert!(video(&units).count() as u64 >= counters.frames_out && coded >= counters.bytes_out);
        (units, u32::try_from(counters.frames_dropped).unwrap())
    }
}

/// A transport stream on disk.
struct File {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn of(packets: &[u8]) -> File {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.ts");
        std::fs::write(&path, packets).unwrap();
        File { _directory: directory, path }
    }

    fn codecs(&self) -> Vec<String> {
        let mut codecs = self.probe(&["-show_entries", "program=:stream=codec_name", "-show_streams"]);
        codecs.retain(|line| line.starts_with("codec_name="));
        let mut codecs: Vec<_> =
            codecs.into_iter().map(|line| line["codec_name=".len()..].to_owned()).collect();
        codecs.sort();
        codecs.dedup();
        codecs
    }

    /// Presentation times of a track's packets, in the order in which they are sent.
    fn times(&self, track: &str) -> Vec<f64> {
        let lines = self.probe(&["-select_streams", track, "-show_entries", "packet=pts_time"]);
        lines.iter().filter_map(|line| line.strip_prefix("pts_time=")?.parse().ok()).collect()
    }

    fn probe(&self, arguments: &[&str]) -> Vec<String> {
        let output =
            Command::new("ffprobe").args(["-v", "error"]).args(arguments).arg(&self.path).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// What ffmpeg has to say when it decodes everything, continuity errors included.
    fn decode_complaints(&self) -> String {
        let output = Command::new("ffmpeg")
            .args(["-v", "warning", "-i", &text(&self.path), "-fps_mode", "vfr", "-f", "null", "-"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn decoded_frames(&self) -> usize {
        let lines =
            self.probe(&["-select_streams", "v", "-count_frames", "-show_entries", "stream=nb_read_frames"]);
        let count = lines.iter().find_map(|line| line.strip_prefix("nb_read_frames="));
        count.unwrap().parse().unwrap()
    }

    /// Sizes of the decoded pictures, each once for as long as it stays.
    fn sizes(&self) -> Vec<String> {
        let mut sizes = self.probe(&[
            "-select_streams",
            "v",
            "-show_entries",
            "frame=width,height",
            "-of",
            "csv=p=0:s=x",
        ]);
        sizes.iter_mut().for_each(|size| size.truncate(size.trim_end_matches('x').len()));
        sizes.retain(|size| !size.is_empty());
        sizes.dedup();
        sizes
    }

    fn colour_in_the_middle_of_the_last_frame(&self) -> (u8, u8, u8) {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-i", &text(&self.path), "-vf", "crop=2:2"])
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap();
        let pixels = output.stdout;
        let last = &pixels[pixels.len() - 3..];
        (last[0], last[1], last[2])
    }
}

fn slate() -> Picture {
    Picture::Slate { reason: "gone".to_owned() }
}

const FRAME: Duration = Duration::from_nanos(33_333_333);

/// A stream of 320×180 at 30 frames a second with these lines for picture and sound.
fn stream(video: &str, audio: &str) -> Stream {
    let size = if video.contains("width") { "" } else { "width = 320\nheight = 180" };
    let document = format!(
        "[streams.main.video]\n{size}\n{video}\n[streams.main.audio]\n{audio}\n\
         [[streams.main.outputs]]\nname = 'studio'\nurl = 'srt://127.0.0.1:9000'\n"
    );
    let config = config::parse(&document).unwrap_or_else(|problems| panic!("{problems}"));
    config.streams.into_values().next().unwrap()
}

/// All packets of the units that are wanted.
fn mux(units: &[Unit], is_wanted: impl FnMut(&Unit, &mut Mux) -> bool) -> Vec<u8> {
    mux_with(config::AudioCodec::Aac, units, is_wanted)
}

fn mux_with(
    codec: config::AudioCodec,
    units: &[Unit],
    mut is_wanted: impl FnMut(&Unit, &mut Mux) -> bool,
) -> Vec<u8> {
    let audio = units.iter().any(|unit| unit.track == Track::Audio).then_some(codec);
    let tracks = Tracks { video: config::Codec::H264, audio, audio_lateness: Duration::ZERO };
    let mut mux = Mux::new(tracks);
    let mut chunks = VecDeque::new();
    for unit in units {
        if is_wanted(unit, &mut mux) {
            mux.push(unit, &mut chunks).unwrap();
        }
    }
    assert!(chunks.iter().all(|chunk| chunk.data.len() % 188 == 0 && chunk.data.len() <= 1316));
    chunks.iter().flat_map(|chunk| chunk.data.iter().copied()).collect()
}

fn video(units: &[Unit]) -> impl Iterator<Item = &Unit> {
    units.iter().filter(|unit| unit.track == Track::Video)
}

/// Timestamps of the picture rise, and no step is longer than `frames` frames (and a half).
fn assert_paced(units: &[Unit], frames: u32) {
    assert_rising(units, Track::Video);
    let longest = longest_step(units, Track::Video);
    assert!(
        longest < Duration::from_secs_f64((f64::from(frames) + 0.5) / 30.0),
        "{longest:?} between two pictures"
    );
}

fn assert_rising(units: &[Unit], track: Track) {
    let times = times(units, track);
    assert!(times.is_sorted_by(|a, b| a < b), "{track:?} goes back");
}

fn longest_step(units: &[Unit], track: Track) -> Duration {
    times(units, track).windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

fn times(units: &[Unit], track: Track) -> Vec<Instant> {
    units.iter().filter(|unit| unit.track == track).map(|unit| unit.captured).collect()
}

fn rate(units: &[Unit], from: Instant, to: Instant) -> Bitrate {
    let size: ByteCount =
        video(units).filter(|unit| unit.captured >= from && unit.captured < to).map(|unit| unit.size).sum();
    size / (to - from)
}

/// A clip of 1.5 s.
fn clip(directory: &Path, extension: &str, with_sound: bool) -> PathBuf {
    clip_of(directory, extension, 1.5, with_sound.then_some(1.5))
}

/// A clip with so many seconds of picture and of sound.
fn clip_of(directory: &Path, extension: &str, picture: f64, sound: Option<f64>) -> PathBuf {
    let path = text(&directory.join(format!("clip.{extension}")));
    let picture = format!("testsrc2=size=320x180:rate=30:duration={picture}");
    let sound = sound.map(|seconds| format!("sine=frequency=440:sample_rate=44100:duration={seconds}"));
    let mut arguments: Vec<&str> = vec!["-f", "lavfi", "-i", &picture];
    if let Some(sound) = &sound {
        arguments.extend(["-f", "lavfi", "-i", sound, "-c:a", "aac"]);
    }
    arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", &path]);
    ffmpeg(&arguments);
    path.into()
}

fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
