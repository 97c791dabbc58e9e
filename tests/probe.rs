//! Probes through the built program: the real encoders in software pass, and what goes wrong in a child is a
//! reason and nothing else.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use uplinkd::config::{Codec, EncoderChoice, Framerate};
use uplinkd::media::{self, Decoded, EncoderInfo, Mode, Offer};
use uplinkd::probe::Probes;
use uplinkd::probe::cache::Cache;
use uplinkd::probe::parent::Prober;
use uplinkd::probe::plan::Request;
use uplinkd::probe::ranking::{Finding, Standing, rank};
use uplinkd::probe::verdict::Verdict;

#[tokio::test]
async fn the_real_encoders_pass() {
    for (element, preset) in [("x264enc", Some("ultrafast")), ("openh264enc", None)] {
        let request = Request { info: info(element), mode: small(), preset };
        let measured = itself().probe(&request).await.unwrap();
        let verdict = Verdict::of(&measured, small());
        assert!(verdict.is_proven(), "{element}: {}\n{measured:?}", verdict.reason());
        assert_eq!(measured.coded, measured.given);
        let Some(Decoded::With { pictures, size, error, .. }) = &measured.decoded else {
            panic!("a decoder is installed: {measured:?}");
        };
        assert_eq!((*pictures, *size, error), (measured.coded, Some((320, 180)), &None));
        let gave: Vec<u64> = measured.rates.iter().map(|step| step.gave.as_kbps()).collect();
        assert!(gave[1] > gave[0] * 3 / 2 && gave[1] > gave[2] * 3 / 2, "{element}: {gave:?} kbit/s");
        assert!(measured.key_frame_after.is_some_and(|after| after <= 1), "{measured:?}");
    }
}

#[tokio::test]
async fn what_was_proven_is_not_probed_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(&directory.path().join("encoders.json"));
    let offers = software_offers();
    let probes = Probes::new(itself(), cache.clone());
    assert_eq!(probes.remembered(small(), &offers), []);
    let found = probes.probe(info("x264enc"), small()).await;
    assert!(found.verdict.is_proven() && found.preset.is_some(), "{found:?}");
    let standings = |found: &[Finding]| rank(&offers, found).iter().map(|it| it.standing).collect::<Vec<_>>();
    let remembered = probes.remembered(small(), &offers);
    assert_eq!(remembered, std::slice::from_ref(&found));
    assert_eq!(standings(&remembered), [Standing::Proven, Standing::Unproven]);

    let crashes = Prober::command("/bin/sh", &["-c", "kill -SEGV $$"], Duration::from_secs(10));
    let probes = Probes::new(crashes, cache);
    let crashed = probes.probe(info("openh264enc"), small()).await;
    assert_eq!(crashed.verdict.reason(), "the probe crashed (SIGSEGV)");
    let all = probes.remembered(small(), &offers);
    assert_eq!(all, [found, crashed], "of another process, too");
    assert_eq!(standings(&all), [Standing::Proven, Standing::LastResort]);
    let larger = Mode { width: 640, height: 360, ..small() };
    let faster = Mode { framerate: Framerate::new(30, 1).unwrap(), ..small() };
    for other in [larger, faster] {
        let found = probes.remembered(other, &offers);
        assert_eq!(found, [], "what is known of one mode says nothing of {other}");
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_told_all_the_same() {
    media::init().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let crashes = Prober::command("/bin/sh", &["-c", "kill -SEGV $$"], Duration::from_secs(10));
    let probes = Probes::new(crashes, Cache::at(directory.path())); // no file can take a directory's place
    let found = probes.probe(info("openh264enc"), small()).await;
    assert_eq!(found.verdict.reason(), "the probe crashed (SIGSEGV)");
}

#[tokio::test]
async fn hardware_that_hangs_costs_its_limit_and_is_left_out() {
    media::init().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let hangs = Prober::command("/bin/sh", &["-c", "sleep 100 & sleep 100"], Duration::from_millis(500));
    let probes = Probes::new(hangs, Cache::at(&directory.path().join("encoders.json")));
    let hardware = media::back_ends().find(|info| info.hardware).unwrap();
    let offers = [Offer { info: hardware, unavailable: None }];
    let begin = Instant::now();
    let found = probes.probe(hardware, small()).await;
    assert_eq!(rank(&offers, &[found]), []);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let known = probes.back_ends(small());
    let known = known.iter().find(|back_end| back_end.offer.info.element == hardware.element).unwrap();
    assert_eq!(known.probes[0].verdict.reason(), "the probe gave no answer within 0.5 s and was killed");
}

#[tokio::test]
async fn what_a_decoder_does_to_its_child_says_nothing_of_the_sample() {
    let garbage = vec![[vec![0, 0, 0, 1, 0x65], vec![0x5a; 500]].concat(); 3];
    let decoded = itself().decode(Codec::H264, &garbage).await.unwrap();
    let Decoded::With { pictures, .. } = decoded else { panic!("a decoder is installed") };
    assert!(pictures < 3, "{decoded:?}");
    for (script, limit, expected) in [
        ("kill -SEGV $$", Duration::from_secs(10), "the decoder crashed (SIGSEGV)"),
        ("sleep 100", Duration::from_millis(300), "the decoder gave no answer within 0.3 s and was killed"),
        ("cat > /dev/null; exit 3", Duration::from_secs(10), "the decoder failed with exit code 3"),
    ] {
        let child = Prober::command("/bin/sh", &["-c", script], limit);
        // More than a pipe holds: a child that does not read is not waited for.
        let sample = vec![vec![0; 300_000]; 2];
        assert_eq!(child.decode(Codec::H264, &sample).await.unwrap_err().to_string(), expected);
    }
}

#[test]
fn devices_are_listed_whatever_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let json = uplinkd(&["devices", "--json"], directory.path());
    assert!(json.status.success(), "{json:?}");
    let devices: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(devices["video"].is_array() && devices["sound"].is_array(), "{devices:#}");
    assert_eq!(devices["codecs"][0], "h264");
    let listed: Vec<&str> =
        devices["encoders"].as_array().unwrap().iter().map(|row| row["element"].as_str().unwrap()).collect();
    for info in media::back_ends() {
        assert!(listed.contains(&info.element), "{} is not listed", info.element);
    }
    for row in devices["encoders"].as_array().unwrap() {
        let mut keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let promised = [
            "available",
            "backend",
            "codec",
            "element",
            "hardware",
            "key_frame_on_change",
            "memory",
            "probes",
            "reason",
        ];
        assert_eq!(keys, promised);
        assert!(
            row["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "nothing is probed: {row:#}"
        );
    }

    let text = uplinkd(&["devices"], directory.path());
    assert!(text.status.success());
    let text = String::from_utf8(text.stdout).unwrap();
    let headings: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with(' ')).collect();
    assert_eq!(headings, ["Capture devices", "Sound inputs", "Encoders, in order of preference"]);
    let columns: Vec<usize> = text.lines().filter_map(|line| line.find("  h26")).collect();
    assert!(columns.len() == listed.len() && columns.iter().all(|column| *column == columns[0]), "{text}");
    assert!(text.contains("not probed: run uplinkd devices --probe"));
}

#[test]
fn the_child_answers_in_words_and_is_not_advertised() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = "probe-encoder --element no264enc --codec h264 --width 320 --height 180 --framerate 30";
    let answer = uplinkd(&arguments.split(' ').collect::<Vec<_>>(), directory.path());
    let line: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(line["not_tried"], "this version has no encoder no264enc for h264");
    let help = String::from_utf8(uplinkd(&["help"], directory.path()).stdout).unwrap();
    assert!(
        help.contains("devices") && !help.contains("probe-encoder") && !help.contains("decode-sample"),
        "{help}"
    );
}

fn uplinkd(arguments: &[&str], state: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplinkd"));
    command.args(arguments).env("STATE_DIRECTORY", state).output().unwrap()
}

fn itself() -> Prober {
    media::init().unwrap();
    Prober::command(env!("CARGO_BIN_EXE_uplinkd"), &[], Duration::from_secs(30))
}

fn software_offers() -> Vec<Offer> {
    let Mode { width, height, framerate } = small();
    media::offers(&EncoderChoice::Software, Codec::H264, width, height, framerate)
}

fn info(element: &str) -> &'static EncoderInfo {
    media::back_ends().find(|info| info.element == element).unwrap()
}

/// What a busy machine can do many times over in real time.
fn small() -> Mode {
    Mode { width: 320, height: 180, framerate: Framerate::new(15, 1).unwrap() }
}
