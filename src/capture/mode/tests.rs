use super::super::description::Timings;
use super::*;

/// Lists of real devices as `v4l2-ctl --list-formats-ext` gives them, in short: `FOURCC SIZE@RATES …`, a line
/// for each format; `SIZE..SIZE/STEP` is a range; a `*` after the format says that it is emulated.
///
/// Logitech C920, H.264 in its first firmware (Motion-Project/motion issue 86, pikvm/ustreamer issue 213):
/// raw is slow from 800x600 on.
const C920: &str = "
    YUYV 640x480@30,24,20,15,10,7.5,5 160x90@30,24,20,15,10,7.5,5 640x360@30,24,20,15,10,7.5,5 \
         800x448@30,24,20,15,10,7.5,5 800x600@24,20,15,10,7.5,5 864x480@24,20,15,10,7.5,5 \
         960x720@15,10,7.5,5 1024x576@15,10,7.5,5 1280x720@10,7.5,5 1600x896@7.5,5 1920x1080@5 \
         2304x1296@2 2304x1536@2
    H264 640x480@30,24,20,15,10,7.5,5 640x360@30,24,20,15,10,7.5,5 1280x720@30,24,20,15,10,7.5,5 \
         1920x1080@30,24,20,15,10,7.5,5
    MJPG 640x480@30,24,20,15,10,7.5,5 640x360@30,24,20,15,10,7.5,5 960x720@30,24,20,15,10,7.5,5 \
         1280x720@30,24,20,15,10,7.5,5 1920x1080@30,24,20,15,10,7.5,5";

/// MacroSilicon MS2109, the usual cheap HDMI dongle (rgl/usb-hdmi-video-capture, v4l-output.txt; the same in
/// hyperion.ng issue 1180).
const MS2109: &str = "
    MJPG 1920x1080@30,25,20,10,5 1600x1200@30,25,20,10,5 1360x768@30,25,20,10,5 1280x1024@30,25,20,10,5 \
         1280x960@50,30,20,10,5 1280x720@60,50,30,20,10 1024x768@60,50,30,20,10 800x600@60,50,30,20,10 \
         720x576@60,50,30,20,10 720x480@60,50,30,20,10 640x480@60,50,30,20,10
    YUYV 1920x1080@5 1600x1200@5 1360x768@8 1280x1024@8 1280x960@8 1280x720@10 1024x768@10 800x600@20,10,5 \
         720x576@25,20,10,5 720x480@30,20,10,5 640x480@30,20,10,5";

/// Elgato Cam Link 4K with a source in 2160p30 (pikvm/ustreamer issue 97): one size, that of its input, the
/// same format twice.
const CAM_LINK: &str = "
    NV12 3840x2160@30
    NV12 3840x2160@30
    YU12 3840x2160@30";

/// Of the C920's kind, without H.264: raw in two sizes only, the rest MJPEG (jacksonliam/mjpg-streamer 169).
const CHEAP_WEBCAM: &str = "
    YUYV 640x480@30,20,15,10,7.5 1280x720@10,7.5 960x544@20,15,10,7.5 800x448@30,20,15,10,7.5
    MJPG 640x480@30,20,15,10,7.5 1280x720@30,20,15,10,7.5";

/// A camera that gives MJPEG alone (PhotonVision issue 481, ELP), and its other node, H.264 alone.
const ELP: &str = "
    MJPG 1920x1080@30,25,20,15,10,5 1280x720@30,25,20,15,10,5";
const ELP_H264: &str = "
    H264 1920x1080@30,25,20,15,10,5 1280x720@30,25,20,15,10,5";

/// Raspberry Pi's old camera stack, bcm2835-v4l2 (Motion-Project/motion issue 940), with the rates that the
/// driver has for every size (bcm2835-camera.c: 1 to 90).
const PI_MMAL: &str = "
    YU12 32x32..2592x1944/2@1..90
    YUYV 32x32..2592x1944/2@1..90
    RGB3 32x32..2592x1944/2@1..90
    JPEG 32x32..2592x1944/2@1..90
    H264 32x32..2592x1944/2@1..90
    MJPG 32x32..2592x1944/2@1..90
    NV12 32x32..2592x1944/2@1..90";

/// A Pi camera's sensor behind unicam: Bayer patterns, which the ISP has yet to make pictures of
/// (ayufan/camera-streamer issues 3 and 27).
const PI_SENSOR: &str = "
    pRAA 3280x2464@ 1920x1080@ 1640x1232@ 640x480@
    RG10 3280x2464@ 1920x1080@ 1640x1232@ 640x480@";

/// TC358743 behind unicam: no sizes are listed (the bridge enumerates none), two formats.
const TC358743: &str = "
    RGB3
    UYVY";

/// The kernel's vivid as a webcam, asked itself in Linux 6.1; the first and last of its formats, all of
/// which have the same sizes.
const VIVID: &str = "
    YUYV 320x180@1,2,4,5,10,12.5,15,25,30,40,50,60 640x360@1,2,4,5,10,12.5,15,25,30,40 \
         640x480@1,2,4,5,10,12.5,15,25 1280x720@1,2,4,5,10,12.5 1920x1080@1,2,4,5 3840x2160@1,2
    UYVY 320x180@1,2,4,5,10,12.5,15,25,30,40,50,60 640x360@1,2,4,5,10,12.5,15,25,30,40 \
         640x480@1,2,4,5,10,12.5,15,25 1280x720@1,2,4,5,10,12.5 1920x1080@1,2,4,5 3840x2160@1,2
    NV12 320x180@1,2,4,5,10,12.5,15,25,30,40,50,60 640x360@1,2,4,5,10,12.5,15,25,30,40 \
         640x480@1,2,4,5,10,12.5,15,25 1280x720@1,2,4,5,10,12.5 1920x1080@1,2,4,5 3840x2160@1,2
    RGBP 320x180@1,2,4,5,10,12.5,15,25,30,40,50,60 640x360@1,2,4,5,10,12.5,15,25,30,40
    AR24 320x180@1,2,4,5,10,12.5,15,25,30,40,50,60 640x360@1,2,4,5,10,12.5,15,25,30,40
    HSV4 320x180@1,2,4,5,10,12.5,15,25,30,40,50,60 640x360@1,2,4,5,10,12.5,15,25,30,40";

#[test]
fn each_device_gives_what_costs_least() {
    let table = [
        // A webcam: raw where it is fast enough, else MJPEG, and never its H.264.
        (C920, "640x480@30", "640x480 YUYV 30/s"),
        (C920, "640x360@30", "640x360 YUYV 30/s"),
        (C920, "640x360@15", "640x360 YUYV 15/s"),
        (C920, "1280x720@30", "1280x720 MJPG 30/s"),
        (C920, "1280x720@10", "1280x720 YUYV 10/s"),
        (C920, "1280x720@25", "1280x720 MJPG 30/s"),
        (C920, "1920x1080@30", "1920x1080 MJPG 30/s"),
        (C920, "1920x1080@60", "1920x1080 MJPG 30/s"),
        // 1024x576 raw gives half the rate in the wanted size; nothing else has it.
        (C920, "1024x576@30", "1024x576 YUYV 15/s"),
        (C920, "1280x800@30", "1920x1080 MJPG 30/s"),
        (CHEAP_WEBCAM, "1280x720@30", "1280x720 MJPG 30/s"),
        (CHEAP_WEBCAM, "1280x720@20", "1280x720 MJPG 20/s"),
        (CHEAP_WEBCAM, "640x360@30", "640x480 YUYV 30/s"),
        (CHEAP_WEBCAM, "1920x1080@30", "1280x720 MJPG 30/s"),
        // The dongle: everything in MJPEG but the small and the slow.
        (MS2109, "1280x720@30", "1280x720 MJPG 30/s"),
        (MS2109, "1280x720@25", "1280x720 MJPG 30/s"),
        (MS2109, "1280x720@60", "1280x720 MJPG 60/s"),
        (MS2109, "1920x1080@30", "1920x1080 MJPG 30/s"),
        (MS2109, "1920x1080@60", "1920x1080 MJPG 30/s"),
        (MS2109, "1920x1080@5", "1920x1080 YUYV 5/s"),
        (MS2109, "720x576@25", "720x576 YUYV 25/s"),
        (MS2109, "720x576@50", "720x576 MJPG 50/s"),
        // One size, whatever is wanted: the encoder's own format where it is there.
        (CAM_LINK, "1280x720@30", "3840x2160 NV12 30/s"),
        (CAM_LINK, "1920x1080@60", "3840x2160 NV12 30/s"),
        (ELP, "1280x720@30", "1280x720 MJPG 30/s"),
        (ELP_H264, "1280x720@30", "1280x720 H264 30/s"),
        // Any size at any rate.
        (PI_MMAL, "1280x720@30", "1280x720 NV12 30/s"),
        (PI_MMAL, "1920x1080@25", "1920x1080 NV12 25/s"),
        (PI_MMAL, "3840x2160@30", "2592x1944 NV12 30/s"),
        (PI_MMAL, "1280x720@120", "1280x720 NV12 90/s"),
        (VIVID, "640x360@30", "640x360 NV12 30/s"),
        (VIVID, "640x360@15", "640x360 NV12 15/s"),
        (VIVID, "320x180@60", "320x180 NV12 60/s"),
        // 1280x720 comes at 12.5 a second at most, which is less than half: the picture is made larger.
        (VIVID, "1280x720@30", "640x480 NV12 25/s"),
        (VIVID, "1280x720@25", "1280x720 NV12 12.5/s"),
    ];
    for (device, wanted, expected) in table {
        let choice = choose(&capabilities(device), &wish(wanted)).expect(wanted);
        assert_eq!(choice.mode.to_string(), expected, "for {wanted} of {device}: {}", choice.reason);
    }
}

#[test]
fn the_encoders_own_format_is_preferred_whichever_it_is() {
    let of = |pixels: &str| {
        let wish = Wish { pixels: pixels.to_owned(), ..wish("1280x720@30") };
        choose(&capabilities(PI_MMAL), &wish).unwrap().mode.fourcc.to_string()
    };
    assert_eq!(of("I420"), "YU12");
    assert_eq!(of("NV12"), "NV12");
    assert_eq!(of("P010_10LE"), "YU12", "else the fewest bytes, and of these the driver's first");
}

#[test]
fn a_receiver_gives_what_comes_in() {
    let mut device = capabilities(TC358743);
    device.current = Some(Extent::new(640, 480));
    let rate = Rate::new(60, 1);
    let timings = Timings { extent: Extent::new(1920, 1080), rate, interlaced: false };
    device.signal = Signal::Present(Some(timings));
    let choice = choose(&device, &wish("1280x720@30")).unwrap();
    assert_eq!(choice.mode.to_string(), "1920x1080 UYVY 60/s");
    assert_eq!(
        choice.reason,
        "the nearest larger size: it has no 1280x720; the nearest rate above 30/s; raw, converted to NV12 for the encoder"
    );
    device.signal = Signal::Untold;
    assert_eq!(choose(&device, &wish("1280x720@30")).unwrap().mode.to_string(), "640x480 UYVY");
    device.current = None;
    assert_eq!(choose(&device, &wish("1280x720@30")), Err(Unsuitable::NoSize));
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = choose(&capabilities(PI_SENSOR), &wish("1280x720@30")).unwrap_err();
    assert_eq!(error.to_string(), "it offers only formats that nothing here reads: pRAA, RG10");
    assert_eq!(choose(&capabilities(""), &wish("1280x720@30")), Err(Unsuitable::NoFormats));
}

#[test]
fn the_cameras_own_h264_is_taken_where_it_is_asked_for() {
    let wish = Wish { prefer_h264: true, ..wish("1280x720@30") };
    let choice = choose(&capabilities(C920), &wish).unwrap();
    assert_eq!(
        (choice.mode.to_string().as_str(), choice.reason.as_str()),
        ("1280x720 H264 30/s", "H.264, as asked for")
    );
}

#[test]
fn formats_that_software_makes_come_after_real_ones() {
    let device = capabilities("NV12* 640x480@30\nYUYV 640x480@30\nMJPG 640x480@30");
    assert_eq!(choose(&device, &wish("640x480@30")).unwrap().mode.to_string(), "640x480 YUYV 30/s");
    let device = capabilities("NV12* 640x480@30\nMJPG 640x480@30");
    assert_eq!(choose(&device, &wish("640x480@30")).unwrap().mode.to_string(), "640x480 NV12 30/s");
}

#[test]
fn a_choice_is_explained() {
    let table = [
        (C920, "640x480@30", "raw, converted to NV12 for the encoder"),
        (C920, "1280x720@30", "MJPEG: raw comes at 10/s in this size"),
        (ELP, "1280x720@30", "MJPEG: nothing raw has this size"),
        (MS2109, "1920x1080@60", "the nearest rate below 60/s; MJPEG: raw comes at 5/s in this size"),
        (PI_MMAL, "1280x720@30", "raw NV12, as the encoder takes it"),
        (ELP_H264, "1280x720@30", "H.264, which is decoded: it has nothing else"),
        (
            VIVID,
            "1280x720@30",
            "the nearest smaller size that is fast enough: 1280x720 is too slow; the nearest rate below 30/s; \
             raw NV12, as the encoder takes it",
        ),
    ];
    for (device, wanted, expected) in table {
        assert_eq!(choose(&capabilities(device), &wish(wanted)).unwrap().reason, expected, "{wanted}");
    }
}

#[test]
fn a_range_of_sizes_is_kept_to() {
    let least = Extent::new(48, 32);
    let (most, step) = (Extent::new(1000, 1000), Extent::new(16, 8));
    let fits = |width, height| {
        let extent = fitting(Extents::Stepwise { least, most, step }, Extent::new(width, height));
        (extent.width, extent.height)
    };
    assert_eq!(fits(640, 360), (640, 360));
    assert_eq!(fits(641, 361), (656, 368), "the nearest that covers it");
    assert_eq!(fits(16, 16), (48, 32));
    assert_eq!(fits(4096, 4096), (992, 1000), "the last step");
}

fn wish(wanted: &str) -> Wish {
    let (extent, wanted_rate) = wanted.split_once('@').unwrap();
    Wish { extent: size(extent), rate: rate(wanted_rate), pixels: "NV12".to_owned(), prefer_h264: false }
}

fn capabilities(device: &str) -> Capabilities {
    let lines = device.lines().map(str::trim).filter(|line| !line.is_empty());
    Capabilities {
        formats: lines.map(format).collect(),
        controls: Vec::new(),
        signal: Signal::Untold,
        current: None,
        input: None,
    }
}

fn format(line: &str) -> Format {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let (fourcc, emulated) = (name.trim_end_matches('*'), name.ends_with('*'));
    Format {
        fourcc: FourCc(fourcc.as_bytes().try_into().unwrap()),
        description: String::new(),
        emulated,
        sizes: words.map(one_size).collect(),
    }
}

fn one_size(word: &str) -> Size {
    let (extent, all) = word.split_once('@').unwrap();
    let extent = match extent.split_once("..") {
        None => Extents::One(size(extent)),
        Some((least, rest)) => {
            let (most, step) = rest.split_once('/').unwrap();
            let step = step.parse().unwrap();
            Extents::Stepwise { least: size(least), most: size(most), step: Extent::new(step, step) }
        }
    };
    let one = |word: &str| match word.split_once("..") {
        None => Rates::One(rate(word)),
        Some((slowest, fastest)) => Rates::Range { slowest: rate(slowest), fastest: rate(fastest) },
    };
    Size { extent, rates: all.split(',').filter(|word| !word.is_empty()).map(one).collect() }
}

fn size(word: &str) -> Extent {
    let (width, height) = word.split_once('x').unwrap();
    Extent::new(width.parse().unwrap(), height.parse().unwrap())
}

fn rate(word: &str) -> Rate {
    Rate::new((word.parse::<f64>().unwrap() * 10.0) as u32, 10).unwrap()
}
