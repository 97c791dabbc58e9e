//! Sound from a device: ALSA, whose clock is followed ([`device_clock`](super::device_clock)).

use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;

use super::clock;
use super::error::Error;
use super::event::Report;
use super::graph::{self, Graph};
use super::inputs::Inputs;
use super::live_sound::Teller;
use super::sound_inlet::SharedClock;
use super::source::{normalised_sound, run_from};
use crate::capture;
use crate::config::AudioDevice;

/// An ALSA device.
pub(super) fn alsa(device: &AudioDevice, inputs: &Inputs, teller: Teller) -> Result<Graph, Error> {
    let graph = Graph::new("alsa");
    let name = capture::sound_device(device);
    // Without its driver's own times, those at which it is read are taken: DeviceClock makes of both what
    // the stream needs.
    let source = graph::make("alsasrc", |source| {
        source
            .name("alsasrc") // the same each time, as then its failures are
            .property("device", name)
            .property("provide-clock", false)
            .property_from_str("slave-method", "re-timestamp")
    })?;
    let [convert, resample, filter] = normalised_sound(&inputs.formats)?;
    let (begin, entry) = (clock::now(), graph::pad(&source, "src"));
    let sink = device_sound_end(inputs, &teller, &entry, begin)?;
    graph.chain(&[&source, &convert, &resample, &filter, &sink])?;
    run_from(graph, begin, move |report| tell(&teller, report))
}

/// The end of a pipeline that began at `begin` for sound of a device with its own clock, which is
/// observed where the sound comes from it.
fn device_sound_end(
    inputs: &Inputs,
    teller: &Teller,
    entry: &gst::Pad,
    begin: gst::ClockTime,
) -> Result<gst::Element, Error> {
    let device = SharedClock::new();
    let (observed, heard) = (device.clone(), teller.clone());
    let counted = AtomicU64::new(0);
    let observe = move |buffer: &mut gst::BufferRef| {
        let (Some(at), Some(lasts)) = (buffer.pts(), buffer.duration()) else { return };
        let is_break = buffer.flags().contains(gst::BufferFlags::DISCONT);
        heard.heard();
        observed.lock().observe((begin + at).into(), lasts.into(), is_break);
        // audioresample takes time that does not fit the samples for a break: it gets time that fits.
        let counted = counted.fetch_add(lasts.nseconds(), Ordering::Relaxed);
        buffer.set_pts(gst::ClockTime::from_nseconds(counted));
    };
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            observe(buffer.make_mut());
        }
        gst::PadProbeReturn::Ok
    });
    let (teller, entry) = (teller.clone(), entry.downgrade());
    inputs.device_sound_sink(device, move || {
        let caps = entry.upgrade().and_then(|pad| pad.current_caps());
        teller.sounding(described_sound(caps.as_ref()));
    })
}

/// A sound's format as people write it: `S16LE 48000 Hz, 2 channels`.
pub(super) fn described_sound(caps: Option<&gst::Caps>) -> String {
    let described = || {
        let format = caps?.structure(0)?;
        let (rate, channels) = (format.get::<i32>("rate").ok()?, format.get::<i32>("channels").ok()?);
        let samples = format.get::<&str>("format").ok()?;
        let channels = if channels == 1 { "1 channel".to_owned() } else { format!("{channels} channels") };
        Some(format!("{samples} {rate} Hz, {channels}"))
    };
    described().unwrap_or_else(|| "unknown".to_owned())
}

/// What a source of sound has to say.
pub(super) fn tell(teller: &Teller, report: Report) {
    match report {
        Report::Failed { element, reason } => teller.failed(format!("{element}: {reason}")),
        Report::Ended => teller.failed("the sound ended".to_owned()),
        Report::Prerolled => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config;
    use crate::media::format::{Formats, SOUND_RATE};
    use crate::media::inputs::OnAir;
    use crate::media::sound_inlet::SoundInlet;

    #[test]
    fn a_format_is_told_as_people_write_it() {
        gst::init().unwrap();
        let sound = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("rate", 44_100)
            .field("channels", 1)
            .build();
        assert_eq!(described_sound(Some(&sound)), "S16LE 44100 Hz, 1 channel");
        assert_eq!(described_sound(None), "unknown");
    }

    /// Seconds of a device whose clock is slower by `ppm`, at this rate: each of its samples is the part of
    /// the second at which it was taken, on the pipeline's clock. Gives what is handed over.
    fn handed_over(seconds: u32, rate: u32, ppm: f64) -> Vec<(gst::ClockTime, Vec<f64>)> {
        crate::media::init().unwrap();
        let document = "[streams.main.video]\nsource = 'test'";
        let stream = config::parse(document).unwrap().streams.into_values().next().unwrap();
        let formats = Formats::of(&stream.video, "I420");
        let (sink, handed) = mpsc::channel();
        let inlet = gst_app::AppSrc::builder().caps(&formats.sound).format(gst::Format::Time).build();
        let behind = Graph::new("behind the inlet");
        let collect = gst_app::AppSink::builder().sync(false).build();
        collect.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |collect| {
                    sink.send(collect.pull_sample().unwrap()).unwrap();
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        behind.chain(&[inlet.upcast_ref(), collect.upcast_ref()]).unwrap();
        behind.play(gst::ClockTime::ZERO).unwrap();
        let picture = gst_app::AppSrc::builder().build();
        let sound = SoundInlet::new(inlet.clone(), &stream.audio);
        inlet.set_max_time(gst::ClockTime::ZERO); // the test is faster than real time
        let inputs = Inputs::new(&formats, picture, Some(sound), OnAir::new());

        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", rate as i32)
            .field("channels", 1)
            .build();
        let device = gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
        let graph = Graph::new("device");
        let [convert, resample, filter] = normalised_sound(&formats).unwrap();
        let entry = graph::pad(device.upcast_ref(), "src");
        let begin = gst::ClockTime::from_seconds(1000);
        let sink = device_sound_end(&inputs, &Teller::mute(), &entry, begin).unwrap();
        graph.chain(&[device.upcast_ref(), &convert, &resample, &filter, &sink]).unwrap();
        graph.play(begin).unwrap();
        let true_time = |frame: u64| frame as f64 / f64::from(rate) * (1.0 + ppm * 1e-6);
        let frames = u64::from(rate / 100);
        for buffer in 0..u64::from(seconds) * 100 {
            let taken = (buffer * frames..(buffer + 1) * frames).map(true_time);
            let samples = taken.flat_map(|at| (((at.fract() - 0.5) * 60_000.0) as i16).to_le_bytes());
            let mut data = gst::Buffer::from_mut_slice(samples.collect::<Vec<u8>>());
            let late = (buffer * 7919 % 97) as f64 * 1e-4; // up to 10 ms, and in time now and then
            let header = data.get_mut().unwrap();
            header.set_pts(gst::ClockTime::from_seconds_f64(true_time(buffer * frames) + late));
            header.set_duration(gst::ClockTime::from_mseconds(10));
            device.push_buffer(data).unwrap();
        }
        device.end_of_stream().unwrap();
        let ended =
            graph.bus().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
        assert!(ended.is_some());
        drop(graph);
        let all = std::iter::from_fn(|| handed.recv_timeout(std::time::Duration::from_millis(500)).ok());
        all.map(|sample| {
            let buffer = sample.buffer().unwrap();
            let samples = buffer.map_readable().unwrap();
            let left = samples.chunks_exact(4).map(|s| f64::from(i16::from_le_bytes([s[0], s[1]])));
            (buffer.pts().unwrap() - begin, left.map(|value| value / 60_000.0 + 0.5).collect())
        })
        .collect()
    }

    #[test]
    fn sound_of_a_drifting_device_keeps_its_time_without_a_seam() {
        for (rate, ppm) in [(48_000, 200.0), (48_000, -200.0), (44_100, 200.0)] {
            let all = handed_over(40, rate, ppm);
            let frames: usize = all.iter().map(|(_, samples)| samples.len()).sum();
            assert!((39.7..39.9).contains(&(frames as f64 / 48_000.0)), "{frames} frames at {rate} Hz");
            let mut expected = all[0].0;
            let (mut worst, mut steepest, mut last) = (0.0f64, 0.0f64, None::<f64>);
            for (at, samples) in &all {
                assert!(at.absdiff(expected) < gst::ClockTime::from_useconds(50), "{at} for {expected}");
                expected = *at
                    + gst::ClockTime::from_nseconds(samples.len() as u64 * 1_000_000_000 / SOUND_RATE as u64);
                for (index, value) in samples.iter().enumerate() {
                    let at = at.nseconds() as f64 / 1e9 + index as f64 / 48_000.0;
                    // What begins at once, as the sound itself and each second do, rings.
                    let is_begin = at < all[0].0.nseconds() as f64 / 1e9 + 0.01;
                    if is_begin || !(0.05..0.95).contains(&at.fract()) {
                        last = None;
                        continue;
                    }
                    worst = worst.max((value - at.fract()).abs());
                    steepest = last.map_or(steepest, |last| steepest.max((value - last).abs()));
                    last = Some(*value);
                }
            }
            println!(
                "{rate} Hz, {ppm} ppm: {:.2} ms at worst, steps of {:.1} µs",
                worst * 1e3,
                steepest * 1e6
            );
            assert!(worst < 0.004, "{} ms at {rate} Hz and {ppm} ppm", worst * 1e3);
            assert!(steepest < 200e-6, "a click: {} µs from one frame to the next", steepest * 1e6);
        }
    }
}
