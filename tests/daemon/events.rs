//! What happens, as readers of `/v1/events` see it.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::get;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};

/// One server-sent event.
#[derive(Clone, Debug, Default)]
struct Told {
    id: String,
    event: String,
    data: Value,
}

impl Told {
    fn number(&self) -> u64 {
        self.id.rsplit('-').next().and_then(|number| number.parse().ok()).expect("ids end in a number")
    }

    fn is(&self, event: &str, field: &str, value: &str) -> bool {
        self.event == event && self.data[field] == value
    }
}

impl std::ops::Index<&str> for Told {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        &self.data[field]
    }
}

/// A reader on a thread of its own; it goes on until the connection ends, or `self` is dropped and something comes.
struct Reader(Receiver<Told>);

impl Reader {
    fn connect(daemon: &Daemon, query: &str, last_event_id: Option<&str>) -> Reader {
        let mut request = ureq::get(daemon.url(&format!("/v1/events{query}")));
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.call().expect("events are told");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut told = Told::default();
            for line in BufReader::new(response.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                match line.split_once(": ") {
                    None if line.is_empty() && !told.id.is_empty() => {
                        if sender.send(std::mem::take(&mut told)).is_err() {
                            return;
                        }
                    }
                    Some(("id", id)) => told.id = id.to_owned(),
                    Some(("event", event)) => told.event = event.to_owned(),
                    Some(("data", data)) => told.data = serde_json::from_str(data).expect("JSON"),
                    Some(_) | None => {}
                }
            }
        });
        Reader(receiver)
    }

    fn next(&self) -> Told {
        self.0.recv_timeout(Duration::from_secs(15)).expect("an event")
    }

    /// All up to the one that is looked for, which comes last.
    fn until(&self, what: &str, mut is_it: impl FnMut(&Told) -> bool) -> Vec<Told> {
        let mut passed = Vec::new();
        let limit = Instant::now() + Duration::from_secs(20);
        while let Ok(told) = self.0.recv_timeout(limit.saturating_duration_since(Instant::now())) {
            let is_found = is_it(&told);
            passed.push(told);
            if is_found {
                return passed;
            }
        }
        panic!("no {what} among {passed:#?}");
    }
}

#[test]
fn a_streams_life_is_told_and_told_again_to_who_comes_back() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        let reader = Reader::connect(&daemon, "?replay=1000", None);
        let snapshot = reader.next();
        assert_eq!(snapshot.event, "snapshot");
        assert_eq!(snapshot.data["streams"][0]["id"], "main");
        assert_eq!(snapshot.data["missed"], 0);

        let begun = reader.until("streaming", |told| told.is("stream_state", "state", "streaming"));
        for (event, field, value) in [
            ("encoder_started", "element", "x264enc"),
            ("source_on_air", "device", "test"),
            ("output_connected", "output", "studio"),
            ("output_state", "state", "streaming"),
            ("rate", "output", "studio"),
        ] {
            assert!(begun.iter().any(|told| told.is(event, field, value)), "no {event}: {begun:#?}");
        }
        assert_eq!(daemon.act("stop"), 202);
        let ended = reader.until("the end", |told| told.is("stream_state", "state", "stopped"));
        assert!(ended.iter().any(|told| told.is("action_requested", "action", "stop")), "{ended:#?}");
        assert_eq!(ended.last().expect("the end")["reason"], "stopped by request");

        let all: Vec<_> = begun.into_iter().chain(ended).collect();
        for (place, told) in all.iter().enumerate() {
            assert_eq!(told.number(), snapshot.number() + 1 + place as u64, "ids rise by one");
            assert!(told.data["time"].is_string() && told.data["text"].is_string(), "{told:#?}");
        }
        let again = Reader::connect(&daemon, "", Some(&all[3].id));
        assert_eq!(again.next().id, all[3].id, "the snapshot's id is the one to go on from");
        for told in &all[4..] {
            let repeated = again.next();
            assert_eq!((&repeated.id, &repeated.event), (&told.id, &told.event));
        }
        let log = daemon.log();
        assert!(
            log.contains("state changed") && log.contains("event=stream_state"),
            "the same in the log: {log}"
        );
    });
}

#[test]
fn ids_of_an_earlier_run_are_none_of_this_one() {
    let stream = test_stream(free_port(), 300, "");
    let earlier = {
        let daemon = Daemon::start(&stream);
        Reader::connect(&daemon, "", None).next().id
    };
    let daemon = Daemon::start(&stream);
    daemon.act("stop");
    let reader = Reader::connect(&daemon, "", Some(&earlier));
    let snapshot = reader.next();
    assert_ne!(snapshot.id.split('-').next(), earlier.split('-').next());
    assert_eq!((snapshot.number(), &snapshot["missed"]), (0, &Value::from(0)));
    assert_eq!(reader.next().number(), 1, "all that is kept");
}

#[test]
fn configurations_that_are_taken_and_refused_are_told() {
    let (daemon, port) = (Daemon::start(""), free_port());
    let reader = Reader::connect(&daemon, "", None);
    assert_eq!(reader.next().event, "snapshot");
    daemon.reload(&test_stream(port, 300, "").replacen("enabled = true", "enabled = false", 1));
    let taken = reader.until("the new one", |told| told.event == "configuration_taken");
    assert_eq!(taken.last().expect("it")["changes"][0], "streams.main: none → present");
    daemon.reload(&test_stream(port, 300, "frobnicate = 1"));
    let refused = reader.until("the refusal", |told| told.event == "configuration_refused");
    let errors = refused.last().expect("it")["errors"].to_string();
    assert!(errors.contains("frobnicate"), "{errors}");
}

#[test]
fn readers_are_few_and_who_goes_makes_room() {
    let daemon = Daemon::start("");
    let readers: Vec<_> =
        (0..16).map(|_| ureq::get(daemon.url("/v1/events")).call().expect("room")).collect();
    let (status, kind, body) = get(daemon.url("/v1/events"), &[]);
    assert_eq!((status, kind.as_str()), (503, "application/problem+json"), "{body}");
    drop(readers);
    eventually("there is room again", Duration::from_secs(10), || {
        ureq::get(daemon.url("/v1/events")).call().is_ok()
    });
}

#[test]
fn wishes_that_cannot_be_granted_are_refused() {
    let daemon = Daemon::start("");
    for query in ["?replay=1001", "?replay=all", "?wrong=1"] {
        let (status, kind, _) = get(daemon.url(&format!("/v1/events{query}")), &[]);
        assert_eq!((status, kind.as_str()), (422, "application/problem+json"), "{query}");
    }
}
