//! Units, costs of a change, key frames, memory: what each encoder is like while nothing is wrong with it.

use std::thread;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;

use super::{WAYS, Way, make, way_of};
use crate::fake_encoders::{self, ForceKey, Pretence, Quirks, When, pretend_each};
use crate::rig::{Mode, Rig, Unit, kbps, keys};

#[test]
fn properties_have_the_types_and_ranges_of_the_real_ones() {
    let _fakes = faultless();
    for (element, property, type_, min, max, default) in [
        ("vah264enc", "bitrate", glib::Type::U32, 0, 2_048_000, 0),
        ("vah264enc", "cpb-size", glib::Type::U32, 0, 2_048_000, 0),
        ("vah264enc", "key-int-max", glib::Type::U32, 0, 1_024, 0),
        ("vah265enc", "target-usage", glib::Type::U32, 1, 7, 4),
        ("vaapih264enc", "cpb-length", glib::Type::U32, 1, 10_000, 1_500),
        ("qsvh264enc", "bitrate", glib::Type::U32, 0, i64::from(i32::MAX), 2_000),
        ("qsvh264enc", "gop-size", glib::Type::U32, 0, 65_535, 0),
        ("nvcudah264enc", "bitrate", glib::Type::U32, 0, 2_048_000, 0),
        ("nvcudah264enc", "gop-size", glib::Type::I32, -1, i64::from(i32::MAX), 30),
        ("nvcudah264enc", "vbv-buffer-size", glib::Type::U32, 0, i64::from(u32::MAX), 0),
        ("nvh264enc", "bframes", glib::Type::U32, 0, 4, 0),
        ("nvv4l2h264enc", "bitrate", glib::Type::U32, 0, i64::from(u32::MAX), 4_000_000),
        ("nvv4l2h264enc", "idrinterval", glib::Type::U32, 0, i64::from(u32::MAX), 256),
        ("mpph264enc", "bps", glib::Type::U32, 0, i64::from(i32::MAX), 0),
        ("mpph264enc", "gop", glib::Type::I32, -1, i64::from(i32::MAX), -1),
    ] {
        let spec = make(element, &[]).find_property(property).unwrap();
        assert_eq!(spec.value_type(), type_, "{element} {property}");
        let range = match spec.downcast_ref::<glib::ParamSpecUInt>() {
            Some(spec) => {
                (i64::from(spec.minimum()), i64::from(spec.maximum()), i64::from(spec.default_value()))
            }
            None => {
                let spec = spec.downcast_ref::<glib::ParamSpecInt>().unwrap();
                (i64::from(spec.minimum()), i64::from(spec.maximum()), i64::from(spec.default_value()))
            }
        };
        assert_eq!(range, (min, max, default), "{element} {property}");
    }
    for (element, property, value) in [
        ("vah264enc", "rate-control", "cbr"),
        ("qsvh264enc", "rate-control", "cbr"),
        ("nvcudah264enc", if gst_version() >= (1, 26, 0) { "rc-mode" } else { "rate-control" }, "cbr"),
        ("nvh264enc", "rc-mode", "cbr-ld-hq"),
        ("nvv4l2h264enc", "control-rate", "constant_bitrate"),
        ("nvv4l2h264enc", "preset-level", "UltraFastPreset"),
        ("mpph264enc", "rc-mode", "cbr"),
        ("mpph264enc", "header-mode", "each-idr"),
    ] {
        let encoder = make(element, &[(property, value)]);
        let value_now = encoder.property_value(property);
        let (_, now) = glib::EnumValue::from_value(&value_now).unwrap();
        assert_eq!(now.nick(), value, "{element} {property}");
    }
    let controls = make("v4l2h264enc", &[]).find_property("extra-controls").unwrap();
    assert_eq!(controls.value_type(), gst::Structure::static_type());
    assert!(!make("v4l2h264enc", &[]).has_property("bitrate"), "only from 1.29 on");
    assert!(!make("nvh264enc", &[]).has_property("rate-control"), "the older one's is rc-mode");
}

#[test]
fn a_rate_lands_in_each_ones_unit() {
    let _fakes = faultless();
    in_parallel(WAYS.into(), |way| {
        let encoder = way.make(800_000, &[]);
        let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
        rig.play();
        let settled = |units: &[Unit]| kbps(&units[30..]);
        let first = settled(&rig.pictures(90));
        assert!((680.0..920.0).contains(&first), "{}: {first} of 800 kbit/s", way.element);
        way.tell(&encoder, 400_000);
        let second = settled(&rig.pictures(90));
        assert!((330.0..470.0).contains(&second), "{}: {second} of 400 kbit/s", way.element);
    });
}

#[test]
fn the_fake_of_x264_is_x264() {
    let _fakes = pretend_each(&[("x264enc", Quirks::NONE)]);
    let coded = |encoder: gst::Element| {
        for (name, value) in [("tune", "zerolatency"), ("pass", "cbr"), ("bitrate", "800"), ("threads", "1")]
        {
            encoder.set_property_from_str(name, value);
        }
        let mut rig = Rig::new(&encoder, &[], None, Mode::USUAL);
        rig.play();
        let mut units = rig.pictures(60);
        encoder.set_property("bitrate", 400u32);
        units.extend(rig.pictures(60));
        units.into_iter().map(|unit| (unit.key, unit.data)).collect::<Vec<_>>()
    };
    let (fake, real) = (coded(make("x264enc", &[])), coded(fake_encoders::real_x264enc()));
    assert!(fake == real, "byte for byte");
}

#[test]
fn units_of_nvidia_are_1024_bits_and_steps_of_v4l2_are_25_kbit() {
    let fakes = pretend_each(&[("nvcudah264enc", Quirks::NONE), ("v4l2h264enc", Quirks::NONE)]);
    for (element, bits_per_second, expected) in [
        ("nvcudah264enc", 1_024_000, 1_024_000),
        ("v4l2h264enc", 610_000, 600_000),
        ("v4l2h264enc", 1, 25_000),
    ] {
        let way = way_of(element);
        let mut rig = Rig::new(&way.make(bits_per_second, &[]), &[], way.asked, mode(&way));
        rig.play();
        rig.pictures(1);
        let seen = fake_encoders::seen(element).pop().unwrap();
        assert_eq!(seen.bits_per_second, expected, "{element} at {bits_per_second}");
    }
    drop(fakes);
}

#[test]
fn what_a_change_costs() {
    let _fakes = faultless();
    let costs: Vec<(&str, Setting, Setting, bool)> = vec![
        ("vah264enc", &[], &[("bitrate", "500")], true),
        ("vah264enc", &[], &[("bitrate", "800")], true), // an equal one
        ("vah264lpenc", &[], &[("bitrate", "500")], true),
        ("vaapih264enc", &[], &[("bitrate", "500")], true),
        ("qsvh264enc", &[], &[("bitrate", "500")], false),
        ("qsvh264enc", &[("disable-hrd-conformance", "false")], &[("bitrate", "500")], true),
        ("qsvh264enc", &[("disable-hrd-conformance", "false")], &[("bitrate", "800")], false),
        ("nvcudah264enc", &[], &[("bitrate", "500")], false),
        ("nvcudah264enc", &[], &[("vbv-buffer-size", "200")], true),
        ("nvcudah264enc", &[], &[("gop-size", "400")], true),
        ("nvh264enc", &[], &[("bitrate", "500")], true),
        ("nvv4l2h264enc", &[], &[("bitrate", "500000")], false),
        ("mpph264enc", &[], &[("bps", "500000")], false),
        ("v4l2h264enc", &[], &[("extra-controls", "c, video_bitrate=500000")], false),
    ];
    in_parallel(costs, |(element, settings, change, is_key)| {
        let way = way_of(element);
        let encoder = way.make(800_000, settings);
        let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
        rig.play();
        assert_eq!(keys(&rig.pictures(10)), [0], "{element}");
        for (name, value) in change {
            encoder.set_property_from_str(name, value);
        }
        let expected: &[usize] = if is_key { &[0] } else { &[] };
        assert_eq!(keys(&rig.pictures(5)), expected, "{element}: {change:?} after {settings:?}");
    });
}

#[test]
fn a_key_frame_comes_each_ones_own_way() {
    let version = gst_version();
    let obeys = Quirks { force_key: ForceKey::Obeyed, ..Quirks::NONE };
    let fakes = pretend_each(&[
        ("vah264enc", Quirks::NONE),
        ("vah264lpenc", obeys),
        ("qsvh264enc", Quirks::NONE),
        ("nvcudah264enc", Quirks::NONE),
        ("nvv4l2h264enc", Quirks::NONE),
        ("mpph264enc", Quirks::NONE),
        ("v4l2h264enc", Quirks::NONE),
    ]);
    for (element, by_event) in [
        ("vah264enc", version >= (1, 24, 4)),
        ("vah264lpenc", true),
        ("qsvh264enc", true),
        ("nvcudah264enc", true),
        ("nvv4l2h264enc", false),
        ("mpph264enc", true),
        ("v4l2h264enc", version >= (1, 24, 0)),
    ] {
        let way = way_of(element);
        let encoder = way.make(800_000, &[]);
        let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
        rig.play();
        rig.pictures(5);
        rig.ask_for_key_frame();
        assert_eq!(!keys(&rig.pictures(5)).is_empty(), by_event, "{element}");
        assert_eq!(fake_encoders::seen(element).pop().unwrap().key_frames_asked, 1, "{element}");
        match element {
            "nvv4l2h264enc" => encoder.emit_by_name::<()>("force-IDR", &[]),
            "v4l2h264enc" => encoder.set_property_from_str("extra-controls", "c, force_key_frame=1"),
            _ => continue,
        }
        assert_eq!(keys(&rig.pictures(5)), [0], "{element}");
    }
    drop(fakes);
}

#[test]
fn key_frames_come_at_the_distance_that_is_set_before_it_runs_and_not_later() {
    let fakes = pretend_each(&[
        ("vah264enc", Quirks::NONE),
        ("qsvh264enc", Quirks::NONE),
        ("nvcudah264enc", Quirks::NONE),
        ("nvv4l2h264enc", Quirks::NONE),
        ("mpph264enc", Quirks::NONE),
        ("v4l2h264enc", Quirks::NONE),
    ]);
    for element in ["vah264enc", "qsvh264enc", "nvcudah264enc", "nvv4l2h264enc", "mpph264enc"] {
        let way = way_of(element);
        let mut rig = Rig::new(&way.make(800_000, &[(way.gop, "12")]), &[], way.asked, mode(&way));
        rig.play();
        assert_eq!(keys(&rig.pictures(30)), [0, 12, 24], "{element}");
    }
    let way = way_of("v4l2h264enc");
    let encoder = way.make(800_000, &[("extra-controls", "c, h264_i_frame_period=12")]);
    let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
    rig.play();
    assert_eq!(keys(&rig.pictures(30)), [0, 12, 24]);

    for (element, property) in [("vah264enc", "key-int-max"), ("nvv4l2h264enc", "idrinterval")] {
        let way = way_of(element);
        let encoder = way.make(800_000, &[(property, "100")]);
        let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
        rig.play();
        rig.pictures(3);
        encoder.set_property(property, 2u32);
        assert!(keys(&rig.pictures(10)).is_empty(), "{element}");
        assert_eq!(encoder.property::<u32>(property), 2, "{element}: it is kept, as the real one keeps it");
        assert_eq!(fake_encoders::seen(element).pop().unwrap().ignored, 1, "{element}");
    }
    drop(fakes);
}

#[test]
fn quick_sync_counts_to_its_idr_frames_in_a_way_of_each_codec() {
    let fakes = pretend_each(&[("qsvh264enc", Quirks::NONE), ("qsvh265enc", Quirks::NONE)]);
    for (element, interval, expected) in [
        ("qsvh264enc", "0", &[0, 6, 12][..]),
        ("qsvh264enc", "1", &[0, 12]),
        ("qsvh265enc", "0", &[0]),
        ("qsvh265enc", "1", &[0, 6, 12]),
        ("qsvh265enc", "2", &[0, 12]),
    ] {
        let way = way_of(element);
        let encoder = way.make(800_000, &[("gop-size", "6"), ("idr-interval", interval)]);
        let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
        rig.play();
        assert_eq!(keys(&rig.pictures(16)), expected, "{element} {interval}");
    }
    drop(fakes);
}

#[test]
fn va_keeps_the_buffer_of_its_first_rate() {
    let fakes = pretend_each(&[("vah264enc", Quirks::NONE)]);
    let buffer = |rig: &mut Rig| {
        rig.pictures(1);
        fake_encoders::seen("vah264enc").pop().unwrap().buffer_ms
    };
    let encoder = make("vah264enc", &[("bitrate", "2000")]);
    let mut rig = Rig::new(&encoder, &[], None, Mode::USUAL);
    rig.play();
    assert_eq!(buffer(&mut rig), 2_000);
    encoder.set_property("bitrate", 500u32);
    assert_eq!(buffer(&mut rig), 8_000, "4000 kbit, which were written back");
    assert_eq!(encoder.property::<u32>("cpb-size"), 4_000);
    encoder.set_property("cpb-size", 250u32);
    assert_eq!(buffer(&mut rig), 8_000, "it waits for the next rate");
    encoder.set_property("bitrate", 500u32);
    assert_eq!(buffer(&mut rig), 500);
    encoder.set_property("bitrate", 1_000u32);
    assert_eq!(buffer(&mut rig), 2_000, "less than half a second is thought too small");
    drop(fakes);
}

#[test]
fn v4l2_takes_integers_it_knows_and_says_nothing_of_others() {
    let fakes = pretend_each(&[("v4l2h264enc", Quirks::NONE)]);
    let way = way_of("v4l2h264enc");
    let encoder = way.make(800_000, &[]);
    let mut rig = Rig::new(&encoder, &[], way.asked, mode(&way));
    rig.play();
    rig.pictures(1);
    let last = || fake_encoders::seen("v4l2h264enc").pop().unwrap();
    for (controls, unknown) in [
        ("c, video_bitrates=500000", 1),
        ("c, video_bitrate=(uint)500000", 2),
        ("c, video_bitrate=(string)500000", 3),
        ("c, video_bitrate=500000.0", 4),
    ] {
        encoder.set_property_from_str("extra-controls", controls);
        assert_eq!((last().unknown_controls, last().bits_per_second), (unknown, 800_000), "{controls}");
    }
    encoder.set_property_from_str("extra-controls", "c, repeat_sequence_header=true, video_bitrate=500000");
    assert_eq!((last().unknown_controls, last().bits_per_second), (4, 500_000));
    drop(fakes);
}

#[test]
fn v4l2_wants_a_level_and_nine_pictures_a_second() {
    let fakes = pretend_each(&[("v4l2h264enc", Quirks::NONE)]);
    let way = way_of("v4l2h264enc");
    let started = |asked, mode: Mode, settings: &[(&str, &str)]| {
        let mut rig = Rig::new(&way.make(800_000, settings), &[], asked, mode);
        rig.play();
        rig.push();
        let unit = rig.unit(Duration::from_millis(700));
        let result = (unit.is_some(), rig.error().is_some());
        if result == (false, false) {
            fake_encoders::release(); // it hangs, and would hang at the end too
        }
        result
    };
    let (runs, refuses, hangs) = ((true, false), (false, true), (false, false));
    assert_eq!(started(way.asked, Mode::USUAL, &[]), runs);
    assert_eq!(started(None, Mode::USUAL, &[]), refuses, "level 1");
    assert_eq!(started(Some("video/x-h264, level=(string)1.1"), Mode::USUAL, &[]), refuses, "30 a second");
    assert_eq!(started(way.asked, Mode { frames_per_second: 8, ..Mode::USUAL }, &[]), hangs);
    let constant = &[("extra-controls", "c, video_bitrate_mode=1")];
    assert_eq!(started(way.asked, Mode::USUAL, constant), runs, "in Main profile");
    assert_eq!(started(Some("video/x-h264, level=(string)4, profile=high"), Mode::USUAL, constant), hangs);
    drop(fakes);
}

#[test]
fn some_have_parameter_sets_in_their_first_key_frame_only() {
    let cases: Vec<(&str, Setting, bool)> = vec![
        ("nvcudah264enc", &[("gop-size", "5")], false),
        ("nvcudah264enc", &[("gop-size", "5"), ("repeat-sequence-header", "true")], true),
        ("nvv4l2h264enc", &[("idrinterval", "5")], false),
        ("nvv4l2h264enc", &[("idrinterval", "5"), ("insert-sps-pps", "true")], true),
        ("mpph264enc", &[("gop", "5")], false),
        ("mpph264enc", &[("gop", "5"), ("header-mode", "each-idr")], true),
        ("vah264enc", &[("key-int-max", "5")], true),
    ];
    let _fakes = faultless();
    for (element, settings, expected) in cases {
        let way = way_of(element);
        let mut rig = Rig::new(&way.make(800_000, settings), &[], way.asked, mode(&way));
        rig.play();
        let units = rig.pictures(6);
        assert!(has_parameter_sets(&units[0]), "{element}");
        assert!(units[5].key, "{element}");
        assert_eq!(has_parameter_sets(&units[5]), expected, "{element} {settings:?}");
    }
}

#[test]
fn memory_is_taken_from_its_converter() {
    let _fakes = faultless();
    let i420 = Mode { format: "I420", ..Mode::USUAL };
    for (element, front, mode) in [
        ("vah264enc", "vapostproc", i420),
        ("qsvh264enc", "vapostproc", i420),
        ("nvv4l2h264enc", "nvvidconv", i420),
        ("nvcudah264enc", "cudaupload", Mode::USUAL),
        ("nvcudah264enc", "cudaconvertscale", i420),
        ("v4l2h264enc", "v4l2convert", i420),
        ("vaapih264enc", "vaapipostproc", i420),
    ] {
        let way = way_of(element);
        let mut rig = Rig::new(&way.make(800_000, &[]), &[front], way.asked, mode);
        rig.play();
        assert_eq!(keys(&rig.pictures(3)), [0], "{front} to {element}");
        let caps = rig.encoder.static_pad("sink").unwrap().current_caps().unwrap();
        let memory = caps.features(0).unwrap().to_string();
        let expected = match front {
            "vapostproc" => "memory:VAMemory",
            "vaapipostproc" => "memory:VASurface",
            "nvvidconv" => "memory:NVMM",
            "v4l2convert" => "memory:SystemMemory",
            _ => "memory:CUDAMemory",
        };
        assert_eq!(memory, expected, "{front} to {element}");
    }
    for (element, refused) in [
        ("nvv4l2h264enc", Mode::USUAL),
        ("vah264enc", i420),
        ("qsvh264enc", i420),
        ("vah264enc", Mode { memory: "memory:NVMM", ..Mode::USUAL }),
    ] {
        let way = way_of(element);
        let mut rig = Rig::new(&way.make(800_000, &[]), &[], way.asked, refused);
        rig.play();
        rig.push();
        assert!(rig.unit(Duration::from_millis(300)).is_none(), "{element} takes {refused:?}");
        assert!(rig.error().is_some(), "{element} takes {refused:?}");
    }
}

#[test]
fn a_fault_can_come_later_and_be_armed() {
    let stalls = Quirks { stalls: Some(When::After(4)), ..Quirks::NONE };
    let fakes = pretend_each(&[("qsvh264enc", stalls), ("mpph264enc", Quirks::NONE)]);
    let mut first = Rig::new(&make("qsvh264enc", &[]), &[], None, Mode::USUAL);
    let mut second = Rig::new(&make("mpph264enc", &[]), &[], None, Mode::USUAL);
    for rig in [&mut first, &mut second] {
        rig.play();
        rig.pictures(4);
    }
    first.push();
    assert!(first.unit(Duration::from_millis(300)).is_none());
    second.pictures(4);
    fakes.arm("mpph264enc", |quirks| quirks.stalls = Some(When::ALWAYS));
    second.push();
    assert!(second.unit(Duration::from_millis(300)).is_none());
}

/// All of them; `nvh264enc` is the older one.
fn faultless() -> Pretence {
    let names = fake_encoders::names();
    let all: Vec<_> =
        names.iter().filter(|name| **name != "nvh264enc@1.26").map(|name| (*name, Quirks::NONE)).collect();
    pretend_each(&all)
}

type Setting = &'static [(&'static str, &'static str)];

fn mode(way: &Way) -> Mode {
    Mode { memory: way.memory, ..Mode::USUAL }
}

fn gst_version() -> (u32, u32, u32) {
    let (major, minor, micro, _) = gst::version();
    (major, minor, micro)
}

fn has_parameter_sets(unit: &Unit) -> bool {
    unit.data.windows(4).any(|window| window[..3] == [0, 0, 1] && window[3] & 0x1f == 7)
}

/// A case a thread, so that they share the machine's time.
fn in_parallel<T: Send>(cases: Vec<T>, run: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| run(case));
        }
    });
}
