use proptest::prelude::*;

use super::*;
use crate::config::Framerate;
use crate::rate::Scale;

const VA: &str = "vah264enc";
const QSV: &str = "qsvh264enc";
const X264: &str = "x264enc";

/// A stream whose encoders do as they are told, on a virtual clock.
struct Bench {
    encoders: Encoders,
    start: Instant,
    now: Instant,
    seen: Observation,
    /// Pictures a second that come to the encoder, and of these the share that it is not ready for.
    fps: u64,
    dropped: f64,
    /// Part of a picture that is still to be dropped.
    debt: f64,
    stalls: bool,
    /// Of the pictures between two looks, one does not come out.
    loses: bool,
    gives_key_frames: bool,
}

impl Bench {
    fn new(elements: &[&'static str]) -> Bench {
        Bench::with(elements.iter().map(|&element| candidate(element, None)).collect())
    }

    fn with(candidates: Vec<Candidate>) -> Bench {
        let now = Instant::now();
        let mode = Mode { width: 1280, height: 720, framerate: Framerate::new(30, 1).unwrap() };
        let mut encoders = Encoders::new(now, mode, candidates);
        let element = encoders.start(now).unwrap();
        Bench {
            encoders,
            start: now,
            now,
            seen: fresh(element),
            fps: 30,
            dropped: 0.0,
            debt: 0.0,
            stalls: false,
            loses: false,
            gives_key_frames: true,
        }
    }

    /// One look later, `ms` after the last.
    fn look(&mut self, ms: u64) -> Action {
        self.now += Duration::from_millis(ms);
        let before = self.seen.pictures_in;
        let at = (self.now - self.start).as_millis() as u64;
        self.seen.pictures_in += (at * self.fps / 1000) - ((at - ms) * self.fps / 1000);
        let came = self.seen.pictures_in - before;
        self.debt += came as f64 * self.dropped;
        self.seen.dropped += self.debt as u64;
        self.debt = self.debt.fract();
        self.seen.taken += came;
        if !self.stalls {
            self.seen.units_out += if self.loses { came.saturating_sub(1) } else { came };
            self.seen.key_frames += u64::from(self.gives_key_frames);
        }
        self.encoders.observe(self.now, &self.seen)
    }

    /// What is to be done first within so many seconds, and after how many milliseconds.
    fn first(&mut self, seconds: f64) -> (u64, Action) {
        let from = self.now;
        while (self.now - from).as_secs_f64() < seconds {
            let action = self.look(50);
            if action != Action::Keep {
                return ((self.now - from).as_millis() as u64, action);
            }
        }
        (0, Action::Keep)
    }

    fn runs_for(&mut self, seconds: f64) {
        let (after, action) = self.first(seconds);
        assert_eq!(action, Action::Keep, "after {after} ms");
    }

    /// The encoder that was asked for is on air from now on.
    fn replaced_by(&mut self, element: &'static str) {
        self.seen = fresh(element);
        self.stalls = false;
    }

    fn demoted(&self) -> Vec<&'static str> {
        self.encoders.demoted().map(|demotion| demotion.element).collect()
    }
}

fn candidate(element: &'static str, speed: Option<f64>) -> Candidate {
    Candidate {
        element,
        reason: format!("{element} is proven"),
        speed,
        failed: None,
        named: false,
        untried: false,
    }
}

fn fresh(element: &'static str) -> Observation {
    Observation {
        element,
        pictures_in: 0,
        dropped: 0,
        withheld: 0,
        taken: 0,
        units_out: 0,
        key_frames: 0,
        told: Bitrate::from_kbps(2000),
        encoded: Bitrate::from_kbps(1900),
        out_of_reach: false,
        reduced: false,
    }
}

fn replace(element: &'static str, reason: &str) -> Action {
    Action::Replace { element, reason: reason.into() }
}

#[test]
fn one_that_works_is_kept() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(600.0);
    assert_eq!(bench.encoders.in_use().unwrap().element, VA);
    assert_eq!(bench.encoders.reason().unwrap(), "vah264enc is proven");
    assert_eq!((bench.demoted(), bench.encoders.lowered()), (vec![], None));
}

#[test]
fn a_stall_costs_a_second_and_the_next_one_takes_over() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(5.0);
    bench.stalls = true;
    let (after, action) = bench.first(2.0);
    assert!((1000..=1150).contains(&after), "{after}");
    assert_eq!(action, replace(X264, "vah264enc gave nothing for 1 s"));
    bench.runs_for(0.5); // the old one still stands in
    bench.replaced_by(X264);
    bench.runs_for(20.0);
    assert_eq!(bench.demoted(), [VA]);
    assert_eq!(bench.encoders.reason().unwrap(), "vah264enc gave nothing for 1 s; x264enc is proven");
    assert_eq!(bench.encoders.trouble().unwrap(), "vah264enc gave nothing for 1 s");
}

#[test]
fn a_first_picture_may_take_three_seconds() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.stalls = true;
    let (after, action) = bench.first(5.0);
    assert!((3000..=3150).contains(&after), "{after}");
    assert_eq!(action, replace(X264, "vah264enc gave no picture in 3 s"));
}

#[test]
fn one_that_does_not_start_is_passed_over() {
    let mut bench = Bench::new(&[VA, QSV, X264]);
    bench.runs_for(1.0);
    assert_eq!(bench.encoders.failed(bench.now, VA, "device lost"), replace(QSV, "vah264enc: device lost"));
    let (after, action) = bench.first(10.0); // nothing but the old one is seen
    assert_eq!((after, action), (5000, replace(X264, "qsvh264enc did not start within 5 s")));
}

#[test]
fn few_pictures_prove_nothing_and_none_are_not_the_encoders_fault() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(2.0);
    bench.fps = 0;
    for _ in 0..200 {
        bench.seen.withheld += 1;
        assert_eq!(bench.look(50), Action::Keep);
    }
    bench.seen.pictures_in += 2; // two that it keeps for now
    for _ in 0..200 {
        bench.seen.withheld += 1;
        assert_eq!(bench.look(50), Action::Keep);
    }
    let (after, action) = bench.first(10.0);
    assert_eq!(
        (after, action),
        (3000, Action::GiveUp { reason: "no picture reached vah264enc for 3 s".into() })
    );
    assert_eq!(bench.demoted(), [""; 0]);
    assert_eq!(bench.encoders.start(bench.now), Some(VA));
}

#[test]
fn a_process_that_was_stopped_has_seen_no_stall() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(2.0);
    bench.stalls = true;
    bench.runs_for(0.2);
    for _ in 0..3 {
        assert_eq!(bench.look(60_000), Action::Keep);
    }
    bench.stalls = false;
    bench.runs_for(2.0);
}

#[test]
fn an_error_of_another_one_is_no_news() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(1.0);
    assert_eq!(bench.encoders.failed(bench.now, VA, "gone"), replace(X264, "vah264enc: gone"));
    assert_eq!(bench.encoders.failed(bench.now, VA, "still gone"), Action::Keep);
    let reason = "vah264enc: its stream is broken: no parameter sets";
    let mut bench = Bench::new(&[VA, X264]);
    assert_eq!(bench.encoders.broken(bench.now, VA, "no parameter sets"), replace(X264, reason));
    assert_eq!(bench.encoders.broken(bench.now, VA, "no parameter sets"), Action::Keep, "no longer in use");
    assert_eq!(bench.encoders.broken(bench.now, X264, "garbage"), Action::Keep, "there is no other");
}

#[test]
fn one_that_does_not_follow_down_is_replaced_and_less_than_told_is_no_fault() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.seen.encoded = Bitrate::from_kbps(100);
    bench.runs_for(20.0);
    bench.seen.encoded = Bitrate::from_kbps(2000);
    bench.runs_for(20.0);
    bench.seen.told = Bitrate::from_kbps(1000);
    let (after, action) = bench.first(10.0);
    assert!((4500..=5500).contains(&after), "{after}");
    let reason = "vah264enc ignores its target: it gives 2.0 Mbit/s and was told 1.0 Mbit/s";
    assert_eq!(action, replace(X264, reason));
}

#[test]
fn one_that_swallows_pictures_is_replaced() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(10.0);
    bench.loses = true;
    let (after, action) = bench.first(10.0);
    assert!((2000..=3200).contains(&after), "{after}");
    assert!(
        matches!(&action, Action::Replace { element: X264, reason } if reason.contains("loses pictures")),
        "{action:?}"
    );
}

#[test]
fn a_slow_follower_is_no_ignorer() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(10.0);
    for told in [1000, 400, 2000, 300] {
        bench.seen.told = Bitrate::from_kbps(told);
        bench.runs_for(2.5); // a second late, and measured over one more
        bench.seen.encoded = Bitrate::from_kbps(told * 3 / 2);
        bench.runs_for(4.0);
    }
    bench.seen.out_of_reach = true;
    assert!(matches!(bench.look(50), Action::Replace { element: X264, .. }));
}

#[test]
fn the_last_one_is_borne_while_it_gives_anything() {
    let mut bench = Bench::new(&[X264]);
    bench.seen.out_of_reach = true;
    bench.runs_for(60.0);
    bench.stalls = true;
    let (after, action) = bench.first(10.0);
    assert!((3000..=3150).contains(&after), "{after}");
    assert_eq!(action, Action::GiveUp { reason: "x264enc gave nothing for 3 s".into() });
    assert_eq!(bench.encoders.in_use(), None);
    assert_eq!(bench.encoders.start(bench.now), Some(X264), "it is all there is");
    bench.replaced_by(X264);
    bench.runs_for(61.0);
    assert_eq!(bench.demoted(), [""; 0], "a minute on air proves it");
}

#[test]
fn with_all_demoted_the_one_that_failed_longest_ago_begins() {
    let mut bench = Bench::new(&[VA, QSV, X264]);
    for (element, next) in [(VA, QSV), (QSV, X264)] {
        bench.runs_for(1.0);
        assert_eq!(
            bench.encoders.failed(bench.now, element, "gone"),
            replace(next, &format!("{element}: gone"))
        );
        bench.replaced_by(next);
    }
    bench.runs_for(1.0);
    let given_up = Action::GiveUp { reason: "x264enc: gone".into() };
    for expected in [VA, QSV, X264, VA] {
        let element = bench.seen.element;
        assert!(matches!(bench.encoders.failed(bench.now, element, "gone"), Action::GiveUp { .. }));
        assert_eq!(bench.encoders.failed(bench.now, X264, "gone"), Action::Keep, "once is enough");
        assert_eq!(bench.encoders.start(bench.now), Some(expected), "{given_up:?}");
        bench.replaced_by(expected);
    }
    assert_eq!(bench.demoted().len(), 3);
}

#[test]
fn a_better_one_comes_back_when_its_probe_passes_and_not_for_ever() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(10.0);
    for (failure, probe_after) in [(1, 60), (2, 300)] {
        assert!(matches!(
            bench.encoders.failed(bench.now, VA, "gone"),
            Action::Replace { element: X264, .. }
        ));
        bench.replaced_by(X264);
        let (after, action) = bench.first(3600.0);
        assert_eq!((after / 1000, action), (probe_after, Action::Probe { element: VA }), "{failure}");
        bench.runs_for(30.0); // until the answer comes
        bench.encoders.probed(bench.now, VA, Ok(("proven: 3.0 × real time".into(), Some(3.0))));
        let reason = "vah264enc has passed its probe: proven: 3.0 × real time";
        assert_eq!(bench.look(50), replace(VA, reason));
        bench.replaced_by(VA);
        bench.runs_for(30.0);
    }
    assert!(matches!(bench.encoders.failed(bench.now, VA, "gone"), Action::Replace { element: X264, .. }));
    bench.replaced_by(X264);
    bench.runs_for(4.0 * 3600.0);
}

#[test]
fn probes_that_fail_become_rare() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(10.0);
    assert!(matches!(bench.encoders.failed(bench.now, VA, "gone"), Action::Replace { element: X264, .. }));
    bench.replaced_by(X264);
    for expected in [60, 300, 1800, 1800] {
        let (after, action) = bench.first(3600.0);
        assert_eq!(((after + 50) / 1000, action), (expected, Action::Probe { element: VA }));
        bench.encoders.probed(bench.now, VA, Err("it crashed".into()));
        assert_eq!(bench.look(50), Action::Keep);
    }
    let told: Vec<_> = bench.encoders.demoted().map(|demotion| demotion.reason).collect();
    assert_eq!(told, ["vah264enc: gone; probed again: it crashed"]);
}

#[test]
fn one_that_failed_its_probe_is_left_out_and_probed_again() {
    let failed =
        |element| Candidate { failed: Some(format!("{element} crashed")), ..candidate(element, None) };
    let mut bench = Bench::with(vec![failed(VA), candidate(X264, None)]);
    assert_eq!(bench.seen.element, X264);
    assert_eq!(bench.encoders.trouble(), None, "it is the best that works");
    assert_eq!(bench.encoders.reason().unwrap(), "vah264enc crashed; x264enc is proven");
    assert_eq!(bench.first(100.0).1, Action::Probe { element: VA });
}

#[test]
fn with_none_that_passed_a_probe_probes_are_waited_for() {
    let failed =
        |element| Candidate { failed: Some(format!("{element}: it crashed")), ..candidate(element, None) };
    let mode = Mode { width: 1280, height: 720, framerate: Framerate::new(30, 1).unwrap() };
    let start = Instant::now();
    let mut encoders = Encoders::new(start, mode, vec![failed(QSV), failed(VA)]);
    assert_eq!(encoders.start(start), None, "neither has ever worked: it may take the process along");
    let mut now = start;
    let mut asked = Vec::new();
    while now - start < Duration::from_secs(4000) && encoders.start(now).is_none() {
        now += Duration::from_millis(50);
        if let Action::Probe { element } = encoders.idle(now) {
            asked.push((element, (now - start).as_secs()));
            let well = asked.len() == 6;
            let passed = ("proven".to_owned(), Some(4.0));
            encoders.probed(now, element, if well { Ok(passed) } else { Err("no answer".to_owned()) });
        }
    }
    assert_eq!(asked, [(QSV, 60), (VA, 60), (QSV, 120), (VA, 120), (QSV, 420), (VA, 420)]);
    assert_eq!(encoders.in_use().unwrap().element, VA);
    assert_eq!(encoders.reason().unwrap(), "qsvh264enc: it crashed; proven");
    let told: Vec<_> = encoders.demoted().map(|demotion| demotion.reason).collect();
    assert_eq!(told, ["qsvh264enc: it crashed; probed again: no answer"]);
    assert_eq!(encoders.idle(now + Duration::from_secs(9000)), Action::Keep, "one is in use");
}

#[test]
fn one_that_the_configuration_names_and_that_is_not_used_is_trouble() {
    let named = |failed: Option<&str>| Candidate {
        failed: failed.map(str::to_owned),
        named: true,
        ..candidate(VA, None)
    };
    let bench = Bench::with(vec![named(Some("vah264enc: no such device")), candidate(X264, None)]);
    assert_eq!(bench.seen.element, X264);
    assert_eq!(bench.encoders.trouble().unwrap(), "vah264enc: no such device");
    let bench = Bench::with(vec![named(None), candidate(X264, None)]);
    assert_eq!(bench.encoders.trouble(), None);
}

#[test]
fn a_worse_one_that_nobody_has_tried_is_probed_while_all_is_well() {
    let untried = |element| Candidate { untried: true, ..candidate(element, None) };
    let mut bench = Bench::with(vec![candidate(VA, Some(4.0)), untried(QSV), untried(X264)]);
    let (after, action) = bench.first(30.0);
    assert_eq!(action, Action::Probe { element: QSV });
    assert!((10_000..11_000).contains(&after), "{after}");
    bench.encoders.probed(bench.now, QSV, Err("it crashed".into()));
    assert_eq!(bench.look(50), Action::Probe { element: X264 });
    bench.encoders.probed(bench.now, X264, Ok(("proven: 2.0 × real time".into(), Some(2.0))));
    bench.runs_for(7200.0);
    assert_eq!(bench.demoted(), [QSV]);
    assert_eq!(bench.encoders.trouble(), None);
    assert_eq!(bench.encoders.failed(bench.now, VA, "gone"), replace(X264, "vah264enc: gone"));
    let reason = "vah264enc: gone; qsvh264enc: it crashed; proven: 2.0 × real time";
    assert_eq!(bench.encoders.reason().unwrap(), reason);
}

#[test]
fn a_probe_that_is_still_under_way_is_answered_later() {
    let failed = Some("vah264enc: its probe takes long".to_owned());
    let slow = Candidate { failed, untried: true, ..candidate(VA, None) };
    let failed = Some("qsvh264enc: not tried yet".to_owned());
    let waiting = Candidate { failed, untried: true, ..candidate(QSV, None) };
    let mut bench = Bench::with(vec![slow, waiting, candidate(X264, None)]);
    assert_eq!(bench.seen.element, X264);
    bench.encoders.probing(VA);
    bench.runs_for(20.0);
    bench.encoders.probed(bench.now, VA, Err("no answer within 10 s".into()));
    assert_eq!(bench.look(50), Action::Probe { element: QSV }, "its turn, at once");
    let told: Vec<_> = bench.encoders.demoted().map(|demotion| demotion.reason).collect();
    assert_eq!(told, ["vah264enc: no answer within 10 s", "qsvh264enc: not tried yet"]);
    bench.encoders.probed(bench.now, QSV, Ok(("proven".into(), Some(3.0))));
    assert!(matches!(bench.look(50), Action::Replace { element: QSV, .. }));
}

#[test]
fn what_is_on_air_has_its_own_reason_until_its_successor_is_there() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(1.0);
    assert!(matches!(bench.encoders.failed(bench.now, VA, "gone"), Action::Replace { .. }));
    assert_eq!(bench.encoders.reason_for(VA).unwrap(), "vah264enc: gone; x264enc takes its place");
    assert_eq!(bench.encoders.reason_for(X264).unwrap(), "vah264enc: gone; x264enc is proven");
    assert_eq!(bench.encoders.reason_for("another"), None);
}

#[test]
fn a_worse_one_is_not_probed() {
    let mut bench = Bench::new(&[VA, X264]);
    assert!(matches!(bench.encoders.failed(bench.now, VA, "gone"), Action::Replace { .. }));
    bench.replaced_by(X264);
    bench.runs_for(1.0);
    assert!(matches!(bench.encoders.failed(bench.now, X264, "gone"), Action::GiveUp { .. }));
    assert_eq!(bench.encoders.start(bench.now), Some(VA));
    bench.replaced_by(VA);
    bench.runs_for(2000.0);
    assert_eq!(bench.demoted(), [X264]);
}

#[test]
fn a_key_frame_that_does_not_come_is_asked_for_again_and_then_from_another() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(5.0);
    bench.gives_key_frames = false;
    bench.encoders.key_frame_forced(bench.now);
    let mut asked = 1;
    let from = bench.now;
    let action = loop {
        match bench.look(50) {
            Action::Keep => {}
            Action::ForceKeyFrame => {
                asked += 1;
                bench.encoders.key_frame_forced(bench.now);
            }
            other => break other,
        }
    };
    assert_eq!(
        action,
        replace(X264, &format!("vah264enc gave no key frame though it was asked {asked} times"))
    );
    assert!((2000..2600).contains(&(bench.now - from).as_millis()), "{:?}", bench.now - from);

    bench.replaced_by(X264);
    bench.encoders.key_frame_forced(bench.now);
    bench.gives_key_frames = true;
    bench.runs_for(5.0);
}

#[test]
fn wishes_that_never_end_do_not_hide_that_nothing_comes_of_them() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(5.0);
    let asks_until = |bench: &mut Bench, gives: bool| {
        (bench.gives_key_frames, bench.seen.key_frames) = (gives, bench.seen.key_frames + 1);
        let from = bench.now;
        while bench.now - from < Duration::from_secs(10) {
            bench.encoders.key_frame_forced(bench.now);
            for _ in 0..6 {
                let action = bench.look(50);
                if action != Action::Keep {
                    return Some((bench.now - from, action));
                }
            }
        }
        None
    };
    assert_eq!(asks_until(&mut bench, true), None);
    let (after, action) = asks_until(&mut bench, false).expect("a fault");
    assert!(matches!(action, Action::Replace { element: X264, .. }), "{action:?}");
    assert!((2000..2600).contains(&after.as_millis()), "{after:?}");
}

#[test]
fn an_encoder_that_is_too_slow_gets_smaller_pictures_with_a_reason() {
    let mut bench = Bench::new(&[X264]);
    bench.runs_for(5.0);
    bench.dropped = 0.3;
    let (after, action) = bench.first(10.0);
    assert!((3000..=4200).contains(&after), "{after}");
    let Action::Lower { rung, reason } = action else { panic!("{action:?}") };
    assert_eq!(rung, Rung { framerate_divisor: 1, scale: Scale::ThreeQuarters });
    assert_eq!(reason, "x264enc keeps 21 of 30 pictures a second at 1280×720");
    assert_eq!((bench.encoders.lowered(), bench.encoders.rung()), (Some(reason.as_str()), rung));
    assert!(matches!(bench.first(10.0).1, Action::Lower { rung: Rung { scale: Scale::Half, .. }, .. }));
    assert!(matches!(bench.first(10.0).1, Action::Lower { rung: Rung { framerate_divisor: 2, .. }, .. }));
    bench.runs_for(60.0); // there is no less
}

#[test]
fn one_that_is_too_slow_for_the_least_gives_way_to_another() {
    let mut bench = Bench::new(&[VA, X264]);
    bench.runs_for(5.0);
    bench.dropped = 0.8;
    for _ in 0..3 {
        assert!(matches!(bench.first(10.0).1, Action::Lower { .. }));
    }
    let (after, action) = bench.first(10.0);
    let Action::Replace { element: X264, reason } = action else { panic!("{action:?}") };
    assert!(reason.starts_with("vah264enc keeps 6 of 30 pictures a second at "), "{reason}");
    assert!((3000..=4200).contains(&after), "{after}");
    bench.replaced_by(X264);
    assert_eq!((bench.encoders.rung(), bench.demoted()), (Rung::FULL, vec![VA]));
}

#[test]
fn a_short_load_and_one_picture_in_twelve_are_borne() {
    let mut bench = Bench::new(&[X264]);
    bench.runs_for(5.0);
    bench.dropped = 0.08;
    bench.runs_for(60.0);
    bench.dropped = 0.0;
    for _ in 0..10 {
        bench.seen.dropped += 40; // more than a second's worth at once
        bench.runs_for(6.0);
    }
}

#[test]
fn more_is_tried_after_a_minute_and_a_failed_trial_not_again_for_long() {
    let mut bench = Bench::new(&[X264]);
    bench.runs_for(5.0);
    for expected in [60, 300, 1800, 1800] {
        bench.dropped = 0.3;
        assert!(matches!(bench.first(10.0).1, Action::Lower { .. }));
        bench.dropped = 0.0;
        let (after, action) = bench.first(3600.0);
        assert!(matches!(action, Action::Raise { rung: Rung::FULL, .. }), "{action:?}");
        assert!((expected..=expected + 1).contains(&(after / 1000)), "{after} ms");
        assert_eq!(bench.encoders.lowered(), None);
    }
}

#[test]
fn a_machine_that_is_slowed_down_lowers_the_picture_at_once_and_raises_it_a_minute_after() {
    let mut bench = Bench::new(&[X264]);
    bench.runs_for(5.0);
    let reason = "the firmware holds the processor back at 84 °C";
    bench.encoders.strained(Some(reason.to_owned()));
    let rung = Rung { framerate_divisor: 1, scale: Scale::ThreeQuarters };
    assert_eq!(bench.first(1.0), (50, Action::Lower { rung, reason: reason.to_owned() }));
    assert_eq!(bench.encoders.trouble().as_deref(), Some(reason));
    bench.runs_for(600.0); // though every picture is kept
    bench.encoders.strained(None);
    let (after, action) = bench.first(3600.0);
    assert!(matches!(action, Action::Raise { rung: Rung::FULL, .. }), "{action:?}");
    assert!((60_000..=61_000).contains(&after), "{after} ms");
    assert_eq!(bench.encoders.trouble(), None);
    bench.encoders.strained(Some(reason.to_owned()));
    assert!(matches!(bench.first(1.0).1, Action::Lower { .. }));
    bench.encoders.strained(None);
    let (after, action) = bench.first(3600.0);
    assert!(matches!(action, Action::Raise { .. }), "{action:?}");
    assert!((300_000..=301_000).contains(&after), "what made it hot again is not tried soon: {after} ms");
}

#[test]
fn pictures_that_the_rate_makes_smaller_prove_no_margin() {
    let mut bench = Bench::with(vec![candidate(X264, Some(0.9))]);
    assert_eq!(bench.encoders.rung().scale, Scale::ThreeQuarters);
    assert_eq!(bench.encoders.lowered(), Some("the whole picture was proven at 0.9 × real time"));
    bench.seen.reduced = true;
    bench.runs_for(600.0);
    bench.seen.reduced = false;
    assert!(matches!(bench.first(61.0), (60_050, Action::Raise { .. })));
}

#[test]
fn what_was_proven_to_be_slow_begins_lower() {
    let rung = |speed| Bench::with(vec![candidate(X264, Some(speed))]).encoders.rung();
    assert_eq!(rung(4.0), Rung::FULL);
    assert_eq!(rung(1.21), Rung::FULL);
    assert_eq!(rung(1.0).scale, Scale::ThreeQuarters);
    assert_eq!(rung(0.5).scale, Scale::Half);
    assert_eq!(rung(0.01).framerate_divisor, 2);
    assert_eq!(rung(f64::NAN).framerate_divisor, 2);
}

proptest! {
    /// Whatever is seen, and however the clock goes: nobody comes back without a probe, except where
    /// everything begins anew; nothing panics or grows.
    #[test]
    fn any_history(
        count in 1usize..4,
        steps in prop::collection::vec(
            (0usize..9, 0u64..5_000, any::<bool>(), 0u64..20, 0u64..20, 0u64..20, any::<u32>()), 1..400,
        ),
    ) {
        let elements = [VA, QSV, X264];
        let candidates = elements.iter().take(count).map(|&element| candidate(element, None)).collect();
        let start = Instant::now() + Duration::from_secs(1 << 20);
        let mode = Mode { width: 640, height: 360, framerate: Framerate::new(30, 1).unwrap() };
        let mut encoders = Encoders::new(start, mode, candidates);
        let mut now = start;
        let mut seen = fresh(encoders.start(now).unwrap());
        for (what, ms, is_back, pictures, units, dropped, rate) in steps {
            let step = Duration::from_millis(ms);
            now = if is_back { now - step / 20 } else { now + step };
            let demoted: Vec<_> = encoders.demoted().map(|demotion| demotion.element).collect();
            let before = encoders.in_use().map(|candidate| candidate.element);
            let named = elements[rate as usize % elements.len()];
            let action = match what {
                0 => encoders.failed(now, named, "gone"),
                1 => encoders.broken(now, named, "garbage"),
                2 => { encoders.key_frame_forced(now); Action::Keep }
                3 => { encoders.probed(now, named, Ok(("fine".into(), Some(f64::from(rate))))); Action::Keep }
                4 => { encoders.probed(now, named, Err("not fine".into())); Action::Keep }
                5 => { seen = fresh(before.unwrap_or(VA)); Action::Keep }
                _ => {
                    seen.pictures_in += pictures;
                    seen.taken += pictures;
                    seen.units_out += units.min(pictures);
                    seen.dropped += dropped.min(pictures);
                    seen.withheld += dropped;
                    seen.key_frames += units / 15;
                    seen.told = Bitrate::from_bps(u64::from(rate));
                    seen.encoded = Bitrate::from_bps(u64::from(rate.rotate_left(7)));
                    seen.out_of_reach = rate % 50 == 0;
                    encoders.observe(now, &seen)
                }
            };
            let after = encoders.in_use().map(|candidate| candidate.element);
            match action {
                Action::Replace { element, reason } => {
                    prop_assert!(!demoted.contains(&element), "{} is demoted", element);
                    prop_assert_ne!(before, Some(element));
                    prop_assert_eq!(after, Some(element));
                    prop_assert!(!reason.is_empty());
                }
                Action::GiveUp { .. } => {
                    prop_assert_eq!(after, None);
                    prop_assert!(encoders.start(now).is_some());
                }
                Action::Probe { element } => {
                    prop_assert!(demoted.contains(&element));
                    prop_assert_eq!(after, before);
                }
                Action::Lower { rung, .. } | Action::Raise { rung, .. } => {
                    prop_assert_eq!(encoders.rung(), rung);
                    prop_assert_eq!(after, before);
                }
                Action::Keep | Action::ForceKeyFrame => prop_assert_eq!(after, before),
            }
            prop_assert!(encoders.watch.remembered() <= 40);
            prop_assert!(encoders.demoted().count() <= count);
        }
    }
}
