//! The fake encoders do what they say, in the daemon's own pipeline and in plain ones: what is built on them can
//! be believed.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod calm;
#[path = "fake_encoders/mod.rs"]
mod fake_encoders;
#[path = "fake_encoders/rig.rs"]
mod rig;
#[path = "fake_encoders/tests/mod.rs"]
mod tests;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use calm::calmly;
use fake_encoders::{Quirks, pretend};
use uplinkd::config;
use uplinkd::media::{self, Capture, Encode, Track, Unit};
use uplinkd::units::{Bitrate, ByteCount};

#[test]
fn without_quirks_it_is_the_real_encoder() {
    calmly(3, || {
        let units = run(Quirks::NONE);
        assert!((0.8..1.1).contains(&share(&units, 3.0, 5.0, 1_000)), "{}", share(&units, 3.0, 5.0, 1_000));
        assert!((0.7..1.15).contains(&share(&units, 5.6, 7.5, 400)), "{}", share(&units, 5.6, 7.5, 400));
        assert_eq!(keys(&units, 4.95, 5.5), 0, "a change of the rate is none of the picture");
    });
}

#[test]
fn each_change_is_a_key_frame() {
    calmly(3, || {
        let units = run(Quirks { key_frame_each_change: true, ..Quirks::NONE });
        assert_eq!(
            keys(&units, 2.95, 3.3),
            1,
            "{:?}",
            units.iter().filter(|(_, unit)| unit.key).map(|(at, _)| at).collect::<Vec<_>>()
        );
        assert_eq!(keys(&units, 4.95, 5.3), 1);
    });
}

#[test]
fn a_new_rate_is_followed_after_a_second() {
    calmly(3, || {
        let units = run(Quirks { follows_after: Duration::from_secs(1), ..Quirks::NONE });
        // The picture flashes once a second, which may be outside; had it followed, this were 0.4.
        assert!(share(&units, 5.0, 5.9, 1_000) > 0.55, "{}", share(&units, 5.0, 5.9, 1_000));
        assert!(share(&units, 6.5, 7.5, 400) < 1.2, "{}", share(&units, 6.5, 7.5, 400));
        assert_eq!(keys(&units, 4.95, 5.5), 0);
    });
}

#[test]
fn a_third_more_than_asked_for() {
    calmly(3, || {
        let units = run(Quirks { excess: 1.3, ..Quirks::NONE });
        assert!((1.05..1.45).contains(&share(&units, 3.0, 5.0, 1_000)), "{}", share(&units, 3.0, 5.0, 1_000));
        assert!((1.1..1.5).contains(&share(&units, 5.6, 7.5, 400)), "{}", share(&units, 5.6, 7.5, 400));
    });
}

/// Coded pictures with their seconds: 950 kbit/s, from 3 s on 1000, from 5 s on 400.
fn run(quirks: Quirks) -> Vec<(f64, Unit)> {
    let _fake = pretend(quirks);
    media::init().unwrap();
    let document = "[streams.main.video]\nsource = 'test'\nwidth = 320\nheight = 180\n\
                    keyframe_interval_ms = 20000\n[streams.main.rate]\nstart_kbps = 950\n\
                    [[streams.main.outputs]]\nname = 'studio'\nurl = 'srt://127.0.0.1:9000'\n";
    let stream = config::parse(document).unwrap().streams.into_values().next().unwrap();
    let units = Arc::new(Mutex::new(Vec::new()));
    let sink = units.clone();
    let begin = Instant::now();
    let encode = Encode::start(&stream, media::events().0, move |unit: Unit| {
        let at = unit.captured.saturating_duration_since(begin).as_secs_f64();
        sink.lock().unwrap().push((at, unit));
    });
    let encode = encode.unwrap();
    let capture = Capture::start(&stream, &encode.inputs(), media::events().0).unwrap();
    for (until, kbps) in [(3.0, 950), (5.0, 1_000), (7.5, 400)] {
        encode.set_target(Bitrate::from_kbps(kbps));
        thread::sleep(Duration::from_secs_f64(until).saturating_sub(begin.elapsed()));
    }
    drop(capture);
    encode.stop();
    let mut units = std::mem::take(&mut *units.lock().unwrap());
    units.retain(|(_, unit)| unit.track == Track::Video);
    units
}

/// What came out in these seconds, against a rate in kbit/s.
fn share(units: &[(f64, Unit)], from: f64, to: f64, kbps: u64) -> f64 {
    let bytes: ByteCount = within(units, from, to).map(|unit| unit.size).sum();
    let rate = bytes / Duration::from_secs_f64(to - from);
    rate.as_bps() as f64 / Bitrate::from_kbps(kbps).as_bps() as f64
}

fn keys(units: &[(f64, Unit)], from: f64, to: f64) -> usize {
    within(units, from, to).filter(|unit| unit.key).count()
}

fn within(units: &[(f64, Unit)], from: f64, to: f64) -> impl Iterator<Item = &Unit> {
    units.iter().filter(move |(at, _)| (from..to).contains(at)).map(|(_, unit)| unit)
}
