use std::collections::BTreeSet;

use gst::prelude::*;

use super::backend::{Input, KeyFrames, Place, Version, Way};
use super::*;
use crate::config;

#[test]
fn software_is_x264_and_what_is_missing_is_said_with_its_package() {
    gst::init().unwrap();
    for choice in ["auto", "software", "x264enc"] {
        assert_eq!(choose(&video(choice, "h264")).unwrap().element, "x264enc", "{choice}");
    }
    assert_eq!(choose(&video("openh264enc", "h264")).unwrap().element, "openh264enc");

    let error = choose(&video("vaapih264enc", "h264")).unwrap_err();
    assert!(matches!(error, Error::MissingElement { package: "gstreamer1.0-vaapi", .. }), "{error}");
    let error = choose(&video("nvenc", "h264")).unwrap_err().to_string();
    assert!(error.starts_with("video.encoder = \"nvenc\" with video.codec = \"h264\" is not available: "));
    for said in ["nvcudah264enc: ", "nvh264enc: ", "nvv4l2h264enc: ", "nvidia-l4t-gstreamer", "NVENC"] {
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn offers_are_in_order_of_preference() {
    gst::init().unwrap();
    for codec in [Codec::H264, Codec::H265] {
        let all = offers(&EncoderChoice::Auto, codec, 1280, 720, at(30));
        let rank = |info: &EncoderInfo| {
            (info.element == "vaapih264enc", !info.hardware, info.rate_change_is_key_frame)
        };
        assert!(all.is_sorted_by_key(|offer| rank(offer.info)), "{all:?}");
        assert!(all.iter().all(|offer| offer.info.codec == codec));
    }
    let all = offers(&EncoderChoice::Auto, Codec::H264, 1280, 720, at(30));
    assert_eq!(all.last().unwrap().info.element, "vaapih264enc");
    let software = offers(&EncoderChoice::Software, Codec::H264, 1280, 720, at(30));
    let software: Vec<_> = software.iter().map(|offer| (offer.info.element, &offer.unavailable)).collect();
    assert_eq!(software, [("x264enc", &None), ("openh264enc", &None)]);
    let unknown = EncoderChoice::Element("x265enc".to_owned());
    assert!(offers(&unknown, Codec::H265, 1280, 720, at(30)).is_empty());
}

#[test]
fn a_mode_beyond_the_limits_is_a_reason() {
    gst::init().unwrap();
    let pi = row_of("v4l2h264enc");
    assert_eq!(pi.refusal(1920, 1080, at(30)), None);
    assert!(pi.refusal(2560, 1440, at(30)).unwrap().contains("1920×1920"));
    assert!(pi.refusal(1280, 720, at(8)).unwrap().contains("fewer than the 9"));
    assert_eq!(pi.refusal(1280, 720, at(9)), None);

    let element = EncoderChoice::Element("openh264enc".to_owned());
    let offer = &offers(&element, Codec::H264, 7680, 4320, at(30))[0];
    assert!(offer.unavailable.as_ref().unwrap().contains("3840×2160"), "{offer:?}");
}

#[test]
fn a_row_is_an_element_of_some_versions() {
    gst::init().unwrap();
    let (old, new) = (row_of("nvcudah264enc").versions, row_of("nvh264enc").versions);
    for (version, is_new) in
        [((1, 22, 0), false), ((1, 24, 12), false), ((1, 26, 0), true), ((1, 28, 1), true)]
    {
        assert_eq!((old.contain(version), new.contain(version)), (!is_new, is_new), "{version:?}");
    }
    if super::backend::gstreamer_version() < (1, 26, 0) {
        let element = EncoderChoice::Element("nvh264enc".to_owned());
        let reason = offers(&element, Codec::H264, 1280, 720, at(30)).remove(0).unavailable.unwrap();
        assert!(reason.starts_with("it is that of GStreamer 1.26.0 on, and this is 1."), "{reason}");
    }
}

#[test]
fn twenty_steps_land_in_each_rows_unit_and_range() {
    // What a step of each element's value is, from its documentation and not from the table.
    let bits = |element: &str| match element {
        "nvcudah264enc" | "nvh264enc" | "nvautogpuh264enc" => 1024,
        "nvcudah265enc" | "nvh265enc" | "nvautogpuh265enc" => 1024,
        "openh264enc" | "v4l2h264enc" | "v4l2h265enc" => 1,
        "nvv4l2h264enc" | "nvv4l2h265enc" | "mpph264enc" | "mpph265enc" => 1,
        _ => 1000,
    };
    for backend in BACKENDS {
        let (element, step) = (backend.info.element, bits(backend.info.element));
        for kbps in (1..=20).map(|step| 300 * step) {
            let target = Bitrate::from_kbps(kbps);
            let value = u64::from(backend.rate_value(target));
            assert!(
                (kbps * 1000 - step..=kbps * 1000).contains(&(value * step)),
                "{element}: {kbps} → {value}"
            );
        }
        let (smallest, largest) = backend.rate.range;
        assert!(smallest > 0, "{element}: nothing means that the element chooses");
        assert_eq!(backend.rate_value(Bitrate::from_bps(1)), smallest, "{element}");
        let most = backend.rate_value(Bitrate::from_bps(u64::MAX));
        assert!(most <= largest && backend.rate_of(most) <= backend.info.limits.max_bitrate, "{element}");
    }
    assert_eq!(row_of("v4l2h264enc").rate_value(Bitrate::from_kbps(50_000)), 20_000_000);
    assert_eq!(row_of("nvcudah264enc").rate_value(Bitrate::from_kbps(6_000)), 5_859);
}

#[test]
fn a_buffer_follows_its_rate_and_is_never_a_matter_of_seconds() {
    for backend in BACKENDS {
        let Some(buffer) = backend.buffer else { continue };
        for kbps in [300, 1_001, 2_999, 6_000] {
            let rate = backend.rate_of(backend.rate_value(Bitrate::from_kbps(kbps)));
            let held = u64::from(buffer.value(rate)) * buffer.unit;
            let time = held as f64 / rate.as_bps() as f64;
            assert!((0.15..=0.51).contains(&time), "{}: {time} s at {kbps} kbit/s", backend.info.element);
        }
    }
    let va = row_of("vah264enc").buffer.unwrap();
    let cpb = va.value(Bitrate::from_kbps(1_001));
    assert!(cpb >= 1_001 / 2, "anything less is made two seconds by the element");
    assert!(va.is_due(Bitrate::from_kbps(1_001), Bitrate::from_kbps(1_000)));
    let nvidia = row_of("nvcudah264enc").buffer.unwrap();
    assert!(!nvidia.is_due(Bitrate::from_kbps(1_000), Bitrate::from_kbps(1_400)));
    assert!(nvidia.is_due(Bitrate::from_kbps(1_500), Bitrate::from_kbps(1_000)));
    let jetson = row_of("nvv4l2h264enc").buffer.unwrap();
    assert!(!jetson.is_due(Bitrate::from_kbps(6_000), Bitrate::from_kbps(300)));
}

#[test]
fn key_frames_are_asked_for_as_the_version_heeds() {
    let va = row_of("vah264enc").key_frames;
    let ways = |keys: KeyFrames, versions: [Version; 3]| versions.map(|version| keys.way(version));
    let versions = [(1, 22, 0), (1, 24, 3), (1, 24, 4)];
    assert_eq!(ways(va, versions), [Way::SameRate, Way::SameRate, Way::Event]);
    let pi = row_of("v4l2h264enc").key_frames;
    assert_eq!(ways(pi, versions), [Way::Control("force_key_frame"); 3]);
    assert_eq!(ways(row_of("x264enc").key_frames, versions), [Way::Event; 3]);
}

#[test]
fn the_pi_is_told_a_level_and_all_its_controls() {
    let pi = row_of("v4l2h264enc");
    assert!(matches!(pi.rate.place, Place::Control("video_bitrate")));
    let level = |width, height, fps| pi.level.unwrap()(&settings(width, height, fps, "NV12"));
    assert_eq!((level(1920, 1080, 30), level(1280, 720, 60)), ("4", "4"));
    assert_eq!((level(1920, 1080, 31), level(1920, 1080, 60)), ("4.2", "4.2"));
    let controls = (pi.controls)(&settings(1280, 720, 30, "NV12"));
    for (name, value) in
        [("video_bitrate_mode", 0), ("h264_i_frame_period", 60), ("repeat_sequence_header", 1)]
    {
        assert!(controls.contains(&(name, value)), "{name}");
    }
}

#[test]
fn the_configuration_knows_the_rows_and_no_others() {
    let rows: BTreeSet<_> = back_ends().map(|info| (info.element, info.codec.to_string())).collect();
    let known: BTreeSet<_> =
        EncoderChoice::ELEMENTS.iter().map(|(name, codec)| (*name, codec.to_string())).collect();
    assert_eq!(known, rows);
}

#[test]
fn no_two_rows_share_an_element_and_none_claims_what_is_not_built() {
    let elements: BTreeSet<_> = back_ends().map(|info| info.element).collect();
    assert_eq!(elements.len(), BACKENDS.len());
    for backend in BACKENDS {
        let (info, memory) = (&backend.info, &backend.info.memory);
        assert!(memory.copies >= 1, "{}: pictures are always copied into an encoder", info.element);
        let converts = memory.converter.is_some();
        assert_eq!(converts, backend.input != Input::System, "{}", info.element);
        assert!(["I420", "NV12"].contains(&backend.native_pixels()), "{}", info.element);
        assert!(std::ptr::eq(row(info), *backend));
    }
}

#[test]
fn a_pixel_format_that_the_element_does_not_take_gets_a_converter() {
    super::super::init().unwrap();
    let names = |encoder: &Encoder| -> Vec<String> {
        encoder.chain().iter().map(|element| element.factory().unwrap().name().to_string()).collect()
    };
    let openh264 = row_of("openh264enc");
    let native = openh264.build(&settings(64, 64, 30, "I420"), None).unwrap();
    assert_eq!(names(&native), ["openh264enc", "capsfilter"]);
    assert_eq!(native.memory().converter, None);
    let converting = openh264.build(&settings(64, 64, 30, "NV12"), None).unwrap();
    assert_eq!(names(&converting), ["videoconvertscale", "capsfilter", "openh264enc", "capsfilter"]);
    assert_eq!((converting.memory().converter, converting.memory().copies), (Some("videoconvertscale"), 2));
    assert_eq!(
        names(&row_of("x264enc").build(&settings(64, 64, 30, "NV12"), None).unwrap()),
        ["x264enc", "capsfilter"]
    );
}

fn row_of(element: &str) -> &'static Backend {
    BACKENDS.iter().find(|backend| backend.info.element == element).unwrap()
}

fn settings(width: u32, height: u32, fps: u32, pixels: &'static str) -> Settings {
    Settings {
        width,
        height,
        framerate: at(fps),
        keyframe_interval: Duration::from_secs(2),
        start: Bitrate::from_kbps(1_500),
        pixels,
        preset: None,
    }
}

fn at(fps: u32) -> Framerate {
    Framerate::new(fps, 1).unwrap()
}

fn video(encoder: &str, codec: &str) -> config::Video {
    let document = format!(
        "[streams.main.video]\nsource = 'test'\nencoder = '{encoder}'\ncodec = '{codec}'\n\
         [[streams.main.outputs]]\nname = 'a'\nurl = 'srt://127.0.0.1:9000'\n"
    );
    config::parse(&document).unwrap().streams.into_values().next().unwrap().video
}
