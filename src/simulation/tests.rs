use proptest::prelude::*;

use super::*;
use crate::rate::{AAC_FRAMES, Bounds};
use crate::units::Bitrate;

fn scenario(link: &str, seconds: u64) -> Scenario {
    let bounds = Bounds {
        min: Bitrate::from_kbps(500),
        max: Bitrate::from_kbps(6_000),
        start: Bitrate::from_kbps(1_500),
    };
    Scenario {
        link: link.parse().unwrap(),
        latency: Duration::from_millis(2_000),
        duration: Duration::from_secs(seconds),
        settings: Settings {
            bounds,
            adaptive: true,
            sound: Bitrate::ZERO,
            sound_frames: AAC_FRAMES,
            framerate: 30.0,
        },
        law: Law::default(),
        encoder: EncoderModel::default(),
        others: 0,
        apart: Duration::from_secs(10),
    }
}

/// A stream whose target does not follow the link.
fn fixed(link: &str, seconds: u64, kbps: u64) -> Scenario {
    let mut scenario = scenario(link, seconds);
    scenario.settings.adaptive = false;
    scenario.settings.bounds.start = Bitrate::from_kbps(kbps);
    scenario
}

fn score(scenario: &Scenario) -> Score {
    scenario.run(Instant::now()).score
}

#[test]
fn a_seed_is_a_run() {
    let first = scenario("rate=4M,delay=25ms,jitter=10ms,loss=0.02,seed=1", 20);
    let other = scenario("rate=4M,delay=25ms,jitter=10ms,loss=0.02,seed=2", 20);
    assert_eq!(first.run(Instant::now()), first.run(Instant::now()));
    assert_ne!(first.run(Instant::now()), other.run(Instant::now()));
}

#[test]
fn a_fixed_rate_over_a_wider_link_uses_its_share_and_makes_no_queue() {
    let mut scenario = fixed("rate=5M,delay=25ms", 60, 2_000);
    scenario.encoder = "noise=0,peak=1,easy=0".parse().unwrap();
    let score = score(&scenario);
    // 2 Mbit/s of pictures are 8333 bytes each: 46 TS packets.
    let stream = 46.0 * 188.0 * 8.0 * 30.0;
    let expected = stream / (5_000_000.0 * 1316.0 / 1360.0);
    assert!((score.utilisation / expected - 1.0).abs() < 0.01, "{} against {expected}", score.utilisation);
    assert!(score.queue_delay_ms.p95 < 5.0, "{:?}", score.queue_delay_ms);
    assert_eq!((score.lost_packets, score.late_percent, score.freeze_s), (0, 0.0, 0.0));
}

#[test]
fn what_a_narrower_link_does_not_carry_waits_before_it_and_is_given_up_in_the_end() {
    let score = score(&fixed("rate=1M,delay=25ms", 60, 2_000));
    assert!((0.9..=1.0).contains(&score.utilisation), "{}", score.utilisation);
    let given_up = score.left_out + score.thinned;
    assert!(given_up > score.pictures * 2 / 5, "{given_up} of {}", score.pictures);
    // The window keeps the rest before the mux: the link alone would hold 375 kB for 3 s.
    assert!(score.queue_delay_ms.max < 2_000.0, "{:?}", score.queue_delay_ms);
    // Pictures give way one by one, evenly, not in groups.
    assert!(score.freeze_s < 1.0, "{}", score.freeze_s);
}

#[test]
fn what_is_lost_is_sent_again_once() {
    let score = score(&fixed("rate=5M,delay=40ms,loss=0.05", 60, 2_000));
    assert!((4.5..6.5).contains(&score.retransmitted_percent), "{}", score.retransmitted_percent);
    assert_eq!((score.lost_packets, score.late_percent), (0, 0.0));
}

#[test]
fn an_outage_shorter_than_the_latency_costs_nothing() {
    let score = score(&fixed("rate=5M,delay=25ms,outage=20s+1s", 60, 2_000));
    assert_eq!((score.lost_packets, score.left_out, score.freeze_s), (0, 0, 0.0));
}

#[test]
fn the_controller_follows_a_step_down_and_up_again() {
    let score = score(&scenario("rate=6500k,delay=25ms,at=40s:rate=1500k,at=80s:rate=6500k", 130));
    assert!(score.utilisation > 0.9, "{}", score.utilisation);
    let [fall, rise] = score.changes[..] else { panic!("two changes: {:?}", score.changes) };
    match (fall.response, rise.response) {
        (
            score::Response::Fall { drain_s: Some(drain), longest_queue_ms, .. },
            score::Response::Rise { refill_s: Some(refill) },
        ) => {
            assert!(drain < 2.0 && longest_queue_ms < 800.0, "{drain} s, {longest_queue_ms} ms");
            assert!(refill < 4.0, "{refill} s");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_below_the_least_rate_thins_the_picture_and_makes_nothing_late() {
    let mut scenario = scenario("rate=300k,delay=25ms", 60);
    scenario.encoder.sound = Some(Bitrate::from_kbps(64));
    scenario.settings.sound = Bitrate::from_kbps(64);
    let score = score(&scenario);
    assert!(score.thinned > score.pictures / 2, "{score:?}");
    assert_eq!((score.lost_packets, score.late_percent, score.sounds_left_out), (0, 0.0, 0), "{score:?}");
}

/// Encoders that are harder to lead than x264, over a link that falls and rises.
fn led(encoder: &str) {
    let link = "rate=6500k,delay=25ms,at=20s:rate=2500k,at=40s:rate=6500k,seed=1";
    let score = score(&Scenario { encoder: encoder.parse().unwrap(), ..scenario(link, 60) });
    assert!(score.utilisation >= 0.80, "{encoder}: {score:?}");
    assert_eq!((score.lost_packets, score.late_percent), (0, 0.0), "{encoder}: {score:?}");
}

#[test]
fn an_encoder_that_answers_each_change_with_a_key_frame_is_led() {
    led("keys-on-change=yes");
}

#[test]
fn an_encoder_that_takes_a_second_to_follow_is_led() {
    led("follow=1s,rise=1s");
}

#[test]
fn an_encoder_that_gives_a_third_more_is_led() {
    led("overshoot=0.3");
}

#[test]
fn two_streams_meet() {
    for seed in 1..=3 {
        let mut scenario = scenario(&format!("rate=6M,delay=25ms,seed={seed}"), 110);
        (scenario.others, scenario.apart) = (1, Duration::from_millis(10_300));
        let sharing = scenario.run(Instant::now()).sharing.unwrap();
        let first = sharing.streams[0].percent;
        assert!((40.0..=60.0).contains(&first) && sharing.used_percent > Some(80.0), "{sharing:?}");
        assert!(sharing.streams.iter().all(|stream| stream.late_percent == 0.0), "{sharing:?}");
    }
}

#[test]
fn a_stream_beside_an_upload_keeps_a_quarter_and_is_in_time() {
    for seed in 1..=3 {
        let scenario = scenario(&format!("rate=6M,delay=25ms,seed={seed},cross=cubic@20s+80s"), 95);
        let sharing = scenario.run(Instant::now()).sharing.unwrap();
        let stream = sharing.streams[0];
        assert!(stream.percent >= 25.0 && sharing.cross_percent > 20.0, "{sharing:?}");
        assert_eq!(stream.late_percent, 0.0);
    }
}

#[test]
fn a_stream_alone_shares_nothing() {
    assert_eq!(scenario("rate=6M,delay=25ms", 10).run(Instant::now()).sharing, None);
}

#[test]
fn sound_goes_on_where_pictures_do_not_fit() {
    let mut scenario = fixed("rate=300k,delay=25ms", 30, 2_000);
    scenario.encoder.sound = Some(Bitrate::from_kbps(64));
    scenario.settings.sound = Bitrate::from_kbps(64);
    let score = score(&scenario);
    assert!(score.left_out + score.thinned > score.pictures / 2, "{score:?}");
    // The first key frames come before anything is known of the link.
    assert!(score.sounds_left_out <= 10, "{score:?}");
}

#[test]
fn a_recording_replays_to_the_last_bit() {
    let lines = scenario("rate=3M,delay=25ms,loss=0.01,outage=5s+1s", 15).record(Instant::now());
    assert!(lines.len() > 700);
    let mut replay = crate::rate::recording::Replay::default();
    for line in lines {
        // As it comes from a file.
        let line = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        if let Some((now, then)) = replay.next(line).unwrap() {
            assert_eq!(now, then);
        }
    }
}

#[test]
fn the_picture_is_well_formed_and_names_what_it_shows() {
    let scenario = scenario("rate=2M,delay=25ms,queue=40000", 10);
    let svg = picture::draw(&scenario, &scenario.run(Instant::now()));
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    for name in
        ["capacity of the link", "target of the encoder", "delivered", "latency", "time in seconds", "kbit/s"]
    {
        assert!(svg.contains(name), "{name}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "every coordinate is a number");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the link: no panic, and figures that make sense.
    #[test]
    fn any_link_is_survived(
        kbps in prop::option::of(20u64..20_000),
        delay in 0u64..800,
        jitter in 0u64..200,
        reorder in any::<bool>(),
        queue in 1_600u64..1_000_000,
        loss in 0.0..1.0f64,
        loss_down in 0.0..1.0f64,
        outage in 0u64..10,
        latency in 20u64..4_000,
        sound in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let rate = kbps.map_or(String::new(), |kbps| format!("rate={kbps}k,"));
        let reorder = if reorder { "yes" } else { "no" };
        let mut scenario = scenario(
            &format!("{rate}delay={delay}ms,jitter={jitter}ms,reorder={reorder},queue={queue},loss={loss},\
                      loss-down={loss_down},outage={outage}s+2s,seed={seed}"),
            12,
        );
        scenario.latency = Duration::from_millis(latency);
        scenario.encoder.sound = sound.then(|| Bitrate::from_kbps(128));
        let score = score(&scenario);
        // What was captured in the window may arrive after it: up to its latency later.
        prop_assert!((0.0..=2.0).contains(&score.utilisation_on_time), "{}", score.utilisation_on_time);
        prop_assert!(score.freeze_s >= 0.0 && score.freeze_s <= 12.0);
        prop_assert!((0.0..=100.0).contains(&score.lost_percent) && (0.0..=100.0).contains(&score.late_percent));
    }
}
