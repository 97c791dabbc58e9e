//! A broker that comes late, goes, comes back, or speaks an older protocol.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::broker::{Broker, IDLE, SOON, parsed, shown, wait_until_connected};
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, eventually, free_port, test_stream};

fn metric(daemon: &Daemon) -> Option<String> {
    let mut response = ureq::get(daemon.url("/metrics")).call().expect("the API answers");
    let text = response.body_mut().read_to_string().expect("text");
    text.lines().find_map(|line| line.strip_prefix("uplinkd_mqtt_connected ")).map(str::to_owned)
}

#[test]
fn a_stream_does_not_care_for_its_broker() {
    calmly(3, || {
        let mut broker = Broker::absent("allow_anonymous true\n", &[]);
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&format!("{}{}", broker.section(""), test_stream(port, 300, "")));
        daemon.wait_for("streaming", SOON);
        eventually("it is known why", SOON, || {
            shown(&daemon)["reason"].as_str().is_some_and(|reason| reason.contains("Connection refused"))
        });
        assert_eq!(metric(&daemon).as_deref(), Some("0"));
        assert_eq!(daemon.log().matches("no connection to the MQTT broker").count(), 1, "told once");

        broker.come();
        wait_until_connected(&daemon);
        assert_eq!(metric(&daemon).as_deref(), Some("1"));
        let since = daemon.status()["since"].clone();
        broker.go();
        eventually("it is noticed", SOON, || shown(&daemon)["connected"] == false);
        broker.come();
        let listener = broker.listen();
        wait_until_connected(&daemon);
        // What happened while nobody could be told is told now.
        listener.wait("uplinkd/box/events", |event| parsed(event)["event"] == "mqtt_lost");
        let status = listener.wait("uplinkd/box/streams/main/status", |_| true);
        assert_eq!(parsed(&status)["state"], "streaming");
        assert_eq!(daemon.state(), "streaming");
        assert_eq!(daemon.status()["since"], since, "it has streamed all the time");
    });
}

#[test]
fn a_broker_without_version_5_is_spoken_to_in_3_1_1() {
    calmly(3, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        // Byte 8 of CONNECT is the protocol's level. It lives as long as the test's program.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).expect("CONNECT");
                let answer = if length > 8 && bytes[8] == 4 { [0x20, 2, 0, 0] } else { [0x20, 2, 0, 1] };
                stream.write_all(&answer).expect("CONNACK is sent");
                thread::spawn(move || while stream.read(&mut bytes).is_ok_and(|length| length > 0) {});
            }
        });
        let daemon = Daemon::start(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n{IDLE}"));
        wait_until_connected(&daemon);
        assert_eq!(shown(&daemon)["version"], "3.1.1");
        assert!(!daemon.log().contains("no connection to the MQTT broker"), "{}", daemon.log());
    });
}
