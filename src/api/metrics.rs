//! `GET /metrics`: every stream's status, and this process, for Prometheus.
//!
//! Labels are names of the configuration and words of fixed lists: none grows while the daemon runs. What is not
//! known has no sample.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Facts;
use super::exposition::{self, Exposition, Family, Kind, Value};
use super::process::Process;
use crate::machine::{LimitKind, Machine, Zone};
use crate::supervisor::events::Events;
use crate::supervisor::lasting::OutputCounts;
use crate::supervisor::status::{
    AudioState, EncoderStatus, LinkStatus, OutputState, OutputStatus, SourceState, State as StreamState,
    Status,
};
use crate::units::Bitrate;

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "daemon", responses(
    (status = 200, description = "Prometheus' text format.", body = String, content_type = "text/plain"),
))]
pub async fn answer(State(facts): State<Facts>) -> Response {
    let mut page = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION")), ("gstreamer", facts.gstreamer.as_str())];
    page.family("uplinkd_build_info", Kind::Gauge, "What runs here; always 1.").sample(&version, true);
    let streams = facts.streams.statuses();
    of_streams(&mut page, &streams);
    of_encoders(&mut page, &streams);
    of_outputs(&mut page, &streams);
    of_events(&mut page, facts.streams.events());
    if let Some(broker) = facts.broker.borrow().as_ref() {
        page.family(
            "uplinkd_mqtt_connected",
            Kind::Gauge,
            "Whether there is a connection to the MQTT broker.",
        )
        .sample(&[], broker.is_connected());
    }
    of_machine(&mut page, &facts.streams.machine());
    match Process::of_this(facts.started) {
        Ok(process) => of_process(&mut page, &process),
        Err(error) => log::warn!(error:%; "metrics go without those of the process"),
    }
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], page.into_text()).into_response()
}

fn of_streams(page: &mut Exposition, streams: &[Status]) {
    let mut each = |name, kind, help: &str, sample: &dyn Fn(&mut Family<'_>, &Status, &str)| {
        let mut family = page.family(name, kind, help);
        streams.iter().for_each(|stream| sample(&mut family, stream, stream.name.as_str()));
    };
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    each(
        "uplinkd_stream_state",
        gauge,
        "The stream's state: 1 for it, 0 for the others.",
        &|family, stream, id| {
            family.states(&[("stream", id)], &StreamState::WORDS, stream.state.as_str());
        },
    );
    each(
        "uplinkd_stream_state_age_seconds",
        gauge,
        "Time since the stream's state was entered.",
        &|family, stream, id| family.sample(&[("stream", id)], stream.since.elapsed().as_secs_f64()),
    );
    each(
        "uplinkd_source_state",
        gauge,
        "State of the source on air, or of the first while the slate is: 1 for it, 0 for the others.",
        &|family, stream, id| {
            family.states(&[("stream", id)], &SourceState::WORDS, stream.source.state.as_str())
        },
    );
    each(
        "uplinkd_source_on_air",
        gauge,
        "Whether this source is on air; 0 is the first, others are its fall-backs. Where all are 0, the slate is.",
        &|family, stream, id| {
            for (number, source) in stream.source.all.iter().enumerate() {
                family.sample(&[("stream", id), ("source", &number.to_string())], source.on_air);
            }
        },
    );
    each(
        "uplinkd_source_lost_total",
        counter,
        "Times that a live source was lost, by how that was found out.",
        &|family, stream, id| {
            let losses = &stream.sums.losses;
            for (reason, count) in
                [("no_frames", losses.quiet), ("failed", losses.failed), ("no_signal", losses.no_signal)]
            {
                family.sample(&[("stream", id), ("reason", reason)], count);
            }
        },
    );
    each(
        "uplinkd_source_damaged_frames_total",
        counter,
        "Pictures that came damaged and were left out.",
        &|family, stream, id| {
            let damaged = &stream.sums.encoder.damaged;
            for (damage, count) in [
                ("truncated", damaged.truncated),
                ("corrupt", damaged.corrupt),
                ("undecoded", damaged.undecoded),
            ] {
                family.sample(&[("stream", id), ("damage", damage)], count);
            }
        },
    );
    each(
        "uplinkd_audio_state",
        gauge,
        "What becomes of the sound: 1 for it, 0 for the others.",
        &|family, stream, id| {
            family.states(&[("stream", id)], &AudioState::WORDS, stream.audio.state.as_str())
        },
    );
    let levels = |family: &mut Family<'_>, id: &str, levels: Option<[f64; 2]>| {
        for (channel, level) in ["left", "right"].into_iter().zip(levels.into_iter().flatten()) {
            family.sample(&[("stream", id), ("channel", channel)], level);
        }
    };
    each(
        "uplinkd_audio_peak_decibels",
        gauge,
        "Highest sample of the last second, relative to full scale.",
        &|family, stream, id| levels(family, id, stream.audio.levels.map(|levels| levels.peak_db)),
    );
    each(
        "uplinkd_audio_rms_decibels",
        gauge,
        "Loudness over 300 ms, relative to full scale.",
        &|family, stream, id| levels(family, id, stream.audio.levels.map(|levels| levels.rms_db)),
    );
    each(
        "uplinkd_rate_target_bytes_per_second",
        gauge,
        "What the link is meant to get of video: the first of four rates; the others are those of \
         uplinkd_encoder_output_bytes_total, uplinkd_srt_bytes_sent_total and uplinkd_srt_bytes_acknowledged_total.",
        &|family, stream, id| family.sample(&[("stream", id)], bytes_per_second(stream.rate.target)),
    );
    each(
        "uplinkd_rate_estimate_bytes_per_second",
        gauge,
        "What the link was measured to carry, as video.",
        &|family, stream, id| {
            family.sample(&[("stream", id)], stream.rate.estimate.map_or(f64::NAN, bytes_per_second));
        },
    );
    each(
        "uplinkd_rate_queue_seconds",
        gauge,
        "How long a packet waits at the link's bottleneck.",
        &|family, stream, id| family.sample(&[("stream", id)], stream.rate.queue.as_secs_f64()),
    );
    each(
        "uplinkd_rate_thinned_ratio",
        gauge,
        "Share of the pictures that is not encoded because the link is too slow, 0 to 1.",
        &|family, stream, id| family.sample(&[("stream", id)], stream.rate.thin),
    );
}

fn of_encoders(page: &mut Exposition, streams: &[Status]) {
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let mut each = |name, help: &str, sample: &dyn Fn(&mut Family<'_>, &EncoderStatus, &str)| {
        let mut family = page.family(name, gauge, help);
        for stream in streams {
            if let Some(encoder) = &stream.encoder {
                sample(&mut family, encoder, stream.name.as_str());
            }
        }
    };
    each("uplinkd_encoder_info", "The encoder in use; always 1.", &|family, encoder, id| {
        let hardware = if encoder.hardware { "true" } else { "false" };
        let labels = [
            ("stream", id),
            ("backend", encoder.backend),
            ("element", encoder.element),
            ("hardware", hardware),
        ];
        family.sample(&labels, true);
    });
    each(
        "uplinkd_encoder_target_bytes_per_second",
        "What the encoder was told: the target, corrected for what it makes of it.",
        &|family, encoder, id| family.sample(&[("stream", id)], bytes_per_second(encoder.target)),
    );
    each(
        "uplinkd_encoder_frames_per_second",
        "Pictures that left the encoder in the last second.",
        &|family, encoder, id| {
            family.sample(&[("stream", id)], encoder.fps);
        },
    );
    each("uplinkd_encoder_width_pixels", "Width of the encoded picture.", &|family, encoder, id| {
        family.sample(&[("stream", id)], u64::from(encoder.mode.width));
    });
    each("uplinkd_encoder_height_pixels", "Height of the encoded picture.", &|family, encoder, id| {
        family.sample(&[("stream", id)], u64::from(encoder.mode.height));
    });
    each(
        "uplinkd_encoder_demoted",
        "Encoders that are not used because they failed.",
        &|family, encoder, id| {
            family.sample(&[("stream", id)], encoder.demoted.len() as u64);
        },
    );
    let hung =
        streams.iter().filter_map(|stream| stream.encoder.as_ref()).map(|encoder| encoder.hung_threads).max();
    page.family("uplinkd_encoder_hung_threads", gauge, "Threads that hang in a driver and were left behind.")
        .sample(&[], hung.unwrap_or(0) as u64);

    let mut sums = |name, help: &str, sample: &dyn Fn(&mut Family<'_>, &Status, &str)| {
        let mut family = page.family(name, counter, help);
        streams.iter().for_each(|stream| sample(&mut family, stream, stream.name.as_str()));
    };
    sums("uplinkd_encoder_output_bytes_total", "Encoded video, in bytes.", &|family, stream, id| {
        family.sample(&[("stream", id)], stream.sums.encoder.bytes.get());
    });
    sums("uplinkd_encoder_frames_total", "Encoded pictures, the slate's included.", &|family, stream, id| {
        family.sample(&[("stream", id)], stream.sums.encoder.frames);
    });
    sums(
        "uplinkd_encoder_frames_not_encoded_total",
        "Pictures that were not encoded: the encoder was not ready (dropped), it was replaced meanwhile (lost), they \
         came too soon after another (crowded), or the link was too slow (thinned).",
        &|family, stream, id| {
            let counts = &stream.sums.encoder;
            for (reason, count) in [
                ("dropped", counts.dropped),
                ("lost", counts.lost),
                ("crowded", counts.crowded),
                ("thinned", counts.thinned),
            ] {
                family.sample(&[("stream", id), ("reason", reason)], count);
            }
        },
    );
    sums(
        "uplinkd_audio_dropped_buffers_total",
        "Buffers of sound that the encoder was not ready for.",
        &|family, stream, id| {
            family.sample(&[("stream", id)], stream.sums.encoder.dropped_sounds);
        },
    );
}

/// Writes an output's sample under these labels.
type OfOutput<'a> = &'a dyn Fn(&mut Family<'_>, &OutputStatus, &[(&str, &str)]);

fn of_outputs(page: &mut Exposition, streams: &[Status]) {
    let mut present = |name, help: &str, sample: OfOutput<'_>| {
        let mut family = page.family(name, Kind::Gauge, help);
        for stream in streams {
            for output in &stream.outputs {
                let labels = [("stream", stream.name.as_str()), ("output", output.name.as_str())];
                sample(&mut family, output, &labels);
            }
        }
    };
    present(
        "uplinkd_output_state",
        "The output's state: 1 for it, 0 for the others.",
        &|family, output, labels| {
            family.states(labels, &OutputState::WORDS, output.state.as_str());
        },
    );
    let mut link = |name, help: &str, value: &dyn Fn(&LinkStatus) -> Value| {
        present(name, help, &|family, output, labels| {
            if let Some(link) = &output.link {
                family.sample(labels, value(link));
            }
        });
    };
    link("uplinkd_srt_rtt_seconds", "Round-trip time.", &|link| link.rtt.as_secs_f64().into());
    link("uplinkd_srt_latency_seconds", "SRT's latency, as agreed upon.", &|link| {
        link.latency.as_secs_f64().into()
    });
    link("uplinkd_srt_send_buffer_seconds", "Age of the oldest packet that is not acknowledged.", &|link| {
        link.send_buffer.as_secs_f64().into()
    });
    link("uplinkd_srt_packets_in_flight", "Packets sent and not acknowledged.", &|link| {
        link.in_flight_packets.into()
    });
    present("uplinkd_srt_callers", "Callers of an output that listens.", &|family, output, labels| {
        if let Some(callers) = output.callers {
            family.sample(labels, callers.present);
        }
    });

    let mut sums = |name, help: &str, count: &dyn Fn(&OutputCounts) -> u64| {
        let mut family = page.family(name, Kind::Counter, help);
        for stream in streams {
            for (output, counts) in &stream.sums.outputs {
                let labels = [("stream", stream.name.as_str()), ("output", output.as_str())];
                family.sample(&labels, count(counts));
            }
        }
    };
    sums("uplinkd_srt_connections_total", "Connections that were made.", &|counts| counts.totals.connections);
    sums("uplinkd_srt_packets_sent_total", "Packets, each counted when it was first sent.", &|counts| {
        counts.totals.sent_packets
    });
    sums("uplinkd_srt_bytes_sent_total", "Bytes, each counted when it was first sent.", &|counts| {
        counts.totals.sent_bytes.get()
    });
    sums("uplinkd_srt_bytes_acknowledged_total", "Bytes that the receiver has acknowledged.", &|counts| {
        counts.totals.acknowledged_bytes.get()
    });
    sums("uplinkd_srt_packets_retransmitted_total", "Packets that were sent again.", &|counts| {
        counts.totals.retransmitted_packets
    });
    sums("uplinkd_srt_bytes_retransmitted_total", "Bytes that were sent again.", &|counts| {
        counts.totals.retransmitted_bytes.get()
    });
    sums("uplinkd_srt_packets_lost_total", "Packets that the receiver reported missing.", &|counts| {
        counts.totals.lost_packets
    });
    sums(
        "uplinkd_srt_packets_dropped_total",
        "Packets given up because they could not be in time.",
        &|counts| counts.totals.late_packets,
    );
    sums("uplinkd_srt_datagrams_rejected_total", "Datagrams that no honest peer sends.", &|counts| {
        counts.totals.rejected_datagrams
    });
    sums("uplinkd_srt_callers_refused_total", "Callers that were turned away.", &|counts| {
        counts.refused_callers
    });
    sums("uplinkd_output_left_out_frames_total", "Pictures left out before the output's mux.", &|counts| {
        counts.left_out.pictures
    });
    sums(
        "uplinkd_output_left_out_gaps_total",
        "Times that pictures were left out in the midst of a stream.",
        &|counts| counts.left_out.gaps,
    );
    sums(
        "uplinkd_output_left_out_sounds_total",
        "Frames of sound left out before the output's mux.",
        &|counts| counts.left_out.sounds,
    );
}

fn of_events(page: &mut Exposition, events: &Events) {
    let mut family =
        page.family("uplinkd_events_total", Kind::Counter, "Events, as GET /v1/events tells them.");
    for (kind, count) in events.counts() {
        family.sample(&[("event", kind)], count);
    }
    page.family("uplinkd_event_readers", Kind::Gauge, "Connections that events are told to.")
        .sample(&[], events.readers() as u64);
}

fn of_machine(page: &mut Exposition, machine: &Machine) {
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let Machine { looked, under_voltage, throttled, zones, clock, .. } = machine;
    if let Some(looked) = looked {
        page.family("uplinkd_machine_age_seconds", gauge, "Since the machine was looked at, each second.")
            .sample(&[], looked.elapsed().as_secs_f64());
    }
    page.family("uplinkd_machine_under_voltage", gauge, "Whether the machine lacks voltage.")
        .sample(&[], under_voltage.is_the_case());
    let help = "Whether the machine's processor is slowed down, or about to be.";
    page.family("uplinkd_machine_throttled", gauge, help).sample(&[], throttled.is_the_case());
    page.family(
        "uplinkd_machine_under_voltage_total",
        counter,
        "Times that the machine began to lack voltage.",
    )
    .sample(&[], under_voltage.times);
    page.family("uplinkd_machine_throttled_total", counter, "Times that the machine was slowed down.")
        .sample(&[], throttled.times);
    if let Some(clock) = clock {
        page.family("uplinkd_machine_clock_hertz", gauge, "Clock of the fastest processor.")
            .sample(&[], clock.now_khz as f64 * 1e3);
    }
    let mut each = |name, help, celsius: &dyn Fn(&Zone) -> Option<f64>| {
        let mut family = page.family(name, gauge, help);
        for zone in zones {
            let labels = [("zone", zone.number.to_string()), ("type", zone.name.clone())];
            let labels = labels.each_ref().map(|(name, text)| (*name, text.as_str()));
            family.sample(&labels, celsius(zone).unwrap_or(f64::NAN));
        }
    };
    each("uplinkd_thermal_zone_celsius", "Temperature, as the kernel measures it.", &|zone| {
        Some(zone.celsius)
    });
    each(
        "uplinkd_thermal_zone_critical_celsius",
        "Temperature at which the kernel switches the machine off.",
        &|zone| zone.limit(LimitKind::Critical),
    );
}

fn of_process(page: &mut Exposition, process: &Process) {
    let mut one = |name, kind, help: &str, value: Value| page.family(name, kind, help).sample(&[], value);
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    one("process_cpu_seconds_total", counter, "Processor time, user and system.", process.cpu_seconds.into());
    one("process_resident_memory_bytes", gauge, "Memory that is in use.", process.resident_bytes.into());
    one("process_virtual_memory_bytes", gauge, "Memory that is mapped.", process.virtual_bytes.into());
    one("process_threads", gauge, "Threads.", process.threads.into());
    one("process_open_fds", gauge, "Open descriptors.", process.descriptors.into());
    one("process_max_fds", gauge, "Descriptors that may be open.", process.most_descriptors.into());
    one(
        "process_start_time_seconds",
        gauge,
        "When the daemon started, in seconds since 1970.",
        process.started_unix_seconds.into(),
    );
}

fn bytes_per_second(rate: Bitrate) -> f64 {
    rate.as_bps() as f64 / 8.0
}
