use super::*;

const GONE: &str = "no such device";

fn row(element: &str) -> &'static EncoderInfo {
    media::back_ends().find(|info| info.element == element).unwrap()
}

pub(super) fn offer(element: &str, unavailable: Option<&str>) -> Offer {
    Offer { info: row(element), unavailable: unavailable.map(str::to_owned) }
}

pub(super) fn elements(found: &[Found]) -> Vec<&'static str> {
    found.iter().map(|found| found.candidate.element).collect()
}

pub(super) fn begins_with(found: Vec<Found>) -> Option<&'static str> {
    let now = Instant::now();
    let mode = Mode { width: 640, height: 360, framerate: config::Framerate::new(30, 1).unwrap() };
    let candidates = found.into_iter().map(|found| found.candidate).collect();
    Encoders::new(now, mode, candidates).start(now)
}

fn proven(element: &str, preset: Option<&'static str>, factor: f64) -> Finding {
    Finding { info: row(element), verdict: Verdict::Proven { factor }, preset }
}

#[test]
fn what_is_named_is_tried_first_and_what_is_harmless_stands_behind_it() {
    let every = ["qsvh264enc", "nvh264enc", "vah264lpenc", "vah264enc", "x264enc", "openh264enc"]
        .map(|it| offer(it, None));
    let asked = [offer("vah264lpenc", Some(GONE)), offer("vah264enc", None)];
    let known = [proven("x264enc", Some("superfast"), 3.0), proven("nvh264enc", None, 9.0)];
    let found = as_named(&EncoderChoice::Vaapi, &asked, &every, &known);
    assert_eq!(elements(&found), ["vah264enc", "nvh264enc", "x264enc", "openh264enc"]);
    assert_eq!(found[0].candidate.reason, "video.encoder is vaapi");
    let reason = "in place of vaapi, which is configured: proven at 3.0 times real time";
    assert_eq!(found[2].candidate.reason, reason);
    assert_eq!((found[2].preset, found[2].candidate.speed), (Some("superfast"), Some(3.0)));
    assert_eq!(begins_with(found), Some("vah264enc"));

    let choice = EncoderChoice::Element("openh264enc".to_owned());
    let found = as_named(&choice, &every[5..], &every[4..], &[]);
    assert_eq!(elements(&found), ["openh264enc", "x264enc"], "none stands there twice");
    assert!(found[1].candidate.untried, "its preset is still to be found");

    let found = as_named(&EncoderChoice::Software, &every[4..], &every[4..], &known);
    assert_eq!(found[0].preset, Some("superfast"), "what is known of what is named is made use of");
}

#[test]
fn what_is_named_and_not_there_stands_before_the_others_and_is_trouble() {
    let asked = [offer("vah264enc", Some(GONE))];
    let found: Vec<Found> = missing(&asked).chain(ranked(&[offer("x264enc", None)], &[])).collect();
    assert_eq!(found[0].candidate.failed.as_deref(), Some("vah264enc: no such device"));
    assert!(found[0].candidate.named && !found[1].candidate.named);
    assert_eq!(begins_with(found), Some("x264enc"));
}

#[test]
fn slow_hardware_is_better_than_nothing() {
    let slow = || Verdict::TooSlow { factor: 0.8, reason: "keeps 0.8".to_owned() };
    let finding = |element, verdict| Finding { info: row(element), verdict, preset: None };
    let refused = Verdict::Refused { reason: "it crashed".to_owned() };
    let findings = [finding("qsvh265enc", refused.clone()), finding("vah265enc", slow())];
    let offers = ["qsvh265enc", "vah265enc"].map(|it| offer(it, None));
    assert_eq!(begins_with(ranked(&offers, &findings)), Some("vah265enc"));
    let with_software = [offer("vah264enc", None), offer("x264enc", None)];
    let found = ranked(&with_software, &[finding("vah264enc", slow())]);
    assert_eq!(begins_with(found), Some("x264enc"), "where there is something else, it is not used");

    let now = Instant::now();
    let found = ranked(&offers, &[findings[0].clone(), finding("vah265enc", refused)]);
    let mut known = Known::new(now, &config::parse("[streams.a]").unwrap().streams["a"].video, found);
    assert_eq!(known.encoders.start(now), None);
    known.encoders.probing("vah265enc");
    known.probed(now, &finding("vah265enc", slow()));
    assert_eq!(known.encoders.start(now), Some("vah265enc"));
    assert_ne!(known.encoders.rung(), Rung::FULL);
}

#[test]
fn a_probe_gives_what_takes_over_its_preset() {
    let now = Instant::now();
    let offers = ["vah264enc", "x264enc"].map(|it| offer(it, None));
    let found = ranked(&offers, &[proven("vah264enc", None, 4.0)]);
    let mut known = Known::new(now, &config::parse("[streams.a]").unwrap().streams["a"].video, found);
    known.encoders.start(now);
    known.encoders.probing("x264enc");
    let slow = Verdict::TooSlow { factor: 0.8, reason: "keeps 0.8".to_owned() };
    known.probed(now, &Finding { info: row("x264enc"), verdict: slow, preset: Some("ultrafast") });
    assert_eq!(known.row("x264enc").unwrap().1, Some("ultrafast"));
    let Action::Replace { element, .. } = known.encoders.failed(now, "vah264enc", GONE) else {
        panic!("slow software is better than nothing");
    };
    assert_eq!(element, "x264enc");
    assert_ne!(known.encoders.rung(), Rung::FULL, "it is given what it manages");
}

#[test]
fn probes_make_the_order_and_the_refused_wait_before_it() {
    let offers = [
        offer("qsvh264enc", Some(GONE)),
        offer("vah264lpenc", None),
        offer("vah264enc", None),
        offer("x264enc", None),
    ];
    let finding = |element, preset, verdict| Finding { info: row(element), verdict, preset };
    let refused = Verdict::Refused { reason: "it crashed".to_owned() };
    let findings = [
        finding("vah264lpenc", None, refused),
        finding("vah264enc", None, Verdict::Proven { factor: 4.1 }),
        finding("x264enc", Some("veryfast"), Verdict::TooSlow { factor: 0.7, reason: "slow".to_owned() }),
    ];
    let found = ranked(&offers, &findings);
    assert_eq!(elements(&found), ["vah264lpenc", "vah264enc", "x264enc"]);
    assert_eq!(found[0].candidate.failed.as_deref(), Some("vah264lpenc: it crashed"));
    assert_eq!((found[1].candidate.speed, found[2].candidate.speed), (Some(4.1), Some(0.7)));
    assert_eq!(found[2].preset, Some("veryfast"));
    assert_eq!(begins_with(found), Some("vah264enc"));
}
