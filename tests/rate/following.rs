//! How soon x264 gives what it is told: what waits behind a cut, and when a rise is there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use uplinkd::config;
use uplinkd::media::{self, Capture, Encode, Track, Unit};
use uplinkd::units::Bitrate;

use crate::clips;
use crate::run::one_at_a_time;

const HIGH: Bitrate = Bitrate::from_kbps(6_000);
const LOW: Bitrate = Bitrate::from_kbps(1_000);

/// `UPLINKD_CLIP` names another clip than our own, such as a film's scene.
#[test]
#[ignore = "make lab: 15 s"]
fn x264_follows_a_cut_within_350_ms_and_a_rise_within_30_frames() {
    let _one = one_at_a_time();
    media::init().expect("GStreamer starts");
    let clip = std::env::var_os("UPLINKD_CLIP").map_or_else(clips::motion, PathBuf::from);
    let document = format!(
        "[streams.main.video]\nsource = \"file\"\npath = {clip:?}\nwidth = 1280\nheight = 720\n\
         framerate = 30\nencoder = \"x264enc\"\n[streams.main.rate]\nmax_kbps = 6000\nstart_kbps = 6000\n\
         [[streams.main.outputs]]\nname = \"a\"\nurl = \"srt://127.0.0.1:9000\"\n"
    );
    let stream =
        config::parse(&document).expect("a configuration").streams.into_values().next().expect("one");
    let units = Arc::new(Mutex::new(Vec::new()));
    let sink = units.clone();
    let encode = Encode::start(&stream, media::events().0, move |unit: Unit| {
        if unit.track == Track::Video {
            sink.lock().expect("no panic").push((unit.captured, unit.size.get() as f64 * 8.0));
        }
    })
    .expect("the encoder starts");
    let capture = Capture::start(&stream, &encode.inputs(), media::events().0).expect("the clip is played");
    thread::sleep(Duration::from_secs(5));
    let cut = Instant::now();
    encode.set_target(LOW);
    thread::sleep(Duration::from_secs(5));
    let rise = Instant::now();
    encode.set_target(HIGH);
    thread::sleep(Duration::from_secs(4));
    drop(capture);
    encode.stop();

    let units = units.lock().expect("no panic");
    let since = |from: Instant| units.iter().filter(move |(at, _)| *at >= from);
    // What a link of the new rate has not carried yet when a picture comes, in seconds.
    let (mut backlog, mut longest, mut last) = (0.0f64, 0.0f64, cut);
    for (at, bits) in since(cut).take_while(|(at, _)| *at < rise) {
        backlog = (backlog - (*at - last).as_secs_f64()).max(0.0) + bits / LOW.as_bps() as f64;
        longest = longest.max(backlog);
        last = *at;
    }
    let after: Vec<f64> = since(rise).skip(30).take(60).map(|(_, bits)| *bits).collect();
    let share = after.iter().sum::<f64>() / after.len() as f64 * 30.0 / HIGH.as_bps() as f64;
    eprintln!("{longest:.3} s wait after the cut; from the 31st frame on {share:.3} of the rise's target");
    assert!(longest < 0.350, "{longest:.3} s");
    assert!((0.8..1.2).contains(&share), "{share:.3}");
}
