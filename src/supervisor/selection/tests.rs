use super::*;

const GONE: &str = "no such device";

fn row(element: &str) -> &'static EncoderInfo {
    media::back_ends().find(|info| info.element == element).unwrap()
}

fn offer(element: &str, unavailable: Option<&str>) -> Offer {
    Offer { info: row(element), unavailable: unavailable.map(str::to_owned) }
}

fn elements(found: &[Found]) -> Vec<&'static str> {
    found.iter().map(|found| found.candidate.element).collect()
}

fn begins_with(found: Vec<Found>) -> &'static str {
    let now = Instant::now();
    let mode = Mode { width: 640, height: 360, framerate: config::Framerate::new(30, 1).unwrap() };
    let candidates = found.into_iter().map(|found| found.candidate).collect();
    Encoders::new(now, mode, candidates).start(now).unwrap()
}

#[test]
fn what_is_named_is_tried_first_and_software_stands_behind_it() {
    let software = [offer("x264enc", None), offer("openh264enc", None)];
    let asked = [offer("vah264lpenc", Some(GONE)), offer("vah264enc", None)];
    let found = named(&EncoderChoice::Vaapi, &asked, &software).unwrap();
    assert_eq!(elements(&found), ["vah264enc", "x264enc", "openh264enc"]);
    assert_eq!(found[0].candidate.reason, "video.encoder is vaapi");
    assert_eq!(begins_with(found), "vah264enc");

    let choice = EncoderChoice::Element("openh264enc".to_owned());
    let found = named(&choice, &software[1..], &software).unwrap();
    assert_eq!(elements(&found), ["openh264enc", "x264enc"], "none stands there twice");
}

#[test]
fn what_is_named_and_not_there_is_no_dead_end() {
    let asked = [offer("vah264enc", Some(GONE))];
    let found = named(&EncoderChoice::Vaapi, &asked, &[offer("x264enc", None)]).unwrap();
    assert_eq!(found[0].candidate.failed.as_deref(), Some("vah264enc: no such device"));
    assert_eq!(begins_with(found), "x264enc");

    let missing = [offer("x264enc", Some("install it"))];
    let reason = named(&EncoderChoice::Vaapi, &asked, &missing).unwrap_err();
    assert_eq!(reason, "vah264enc: no such device", "nothing else is there");
    assert!(named(&EncoderChoice::Element("no264enc".to_owned()), &[], &[]).is_err());
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
    assert_eq!(begins_with(found), "vah264enc");
}
