//! Pictures of what is on air.

use std::time::{Duration, Instant};

use crate::api::get;
use crate::calm::calmly;
use crate::harness::{Daemon, Peer, free_port, test_stream};

/// A picture and its tag.
struct Shot {
    jpeg: Vec<u8>,
    tag: String,
}

fn shot(daemon: &Daemon, query: &str) -> Shot {
    let url = daemon.url(&format!("/v1/streams/main/snapshot.jpg{query}"));
    let mut response = ureq::get(url).call().expect("a snapshot");
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let tag = response.headers()["etag"].to_str().expect("text").to_owned();
    Shot { jpeg: response.body_mut().read_to_vec().expect("a picture"), tag }
}

impl Shot {
    /// Width and height, from the frame header of a baseline JPEG.
    fn size(&self) -> (u16, u16) {
        let place = self.jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a frame header");
        let number = |at: usize| u16::from_be_bytes([self.jpeg[place + at], self.jpeg[place + at + 1]]);
        (number(7), number(5))
    }
}

#[test]
fn what_is_on_air_can_be_seen() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        let first = shot(&daemon, "");
        assert_eq!(first.size(), (320, 180), "no wider than it is");
        assert_eq!(shot(&daemon, "?width=160").size(), (160, 90));

        // Made at most every half second, however many ask.
        let (began, mut tags) = (Instant::now(), Vec::new());
        while began.elapsed() < Duration::from_secs(2) {
            let tag = shot(&daemon, "").tag;
            if tags.last() != Some(&tag) {
                tags.push(tag);
            }
        }
        let most = began.elapsed().as_millis() / 500 + 1;
        assert!((2..=most as usize).contains(&tags.len()), "{} pictures, {most} at most", tags.len());
        let known = format!("\"another\", W/{}", shot(&daemon, "").tag);
        let (status, ..) = get(daemon.url("/v1/streams/main/snapshot.jpg"), &[("If-None-Match", &known)]);
        assert!(status == 304 || began.elapsed() > Duration::from_millis(2400), "{status}");

        assert_eq!(daemon.act("stop"), 202);
        daemon.wait_for("stopped", Duration::from_secs(5));
        let (status, kind, body) = get(daemon.url("/v1/streams/main/snapshot.jpg"), &[]);
        assert_eq!((status, kind.as_str()), (503, "application/problem+json"));
        assert_eq!(body["detail"], "nothing is on air: the stream does not run");
    });
}

#[test]
fn the_slate_can_be_seen_too() {
    let stream = test_stream(free_port(), 300, "");
    let daemon = Daemon::start(&stream.replacen(
        "source = \"test\"",
        "source = \"v4l2\"\ndevice = \"/dev/video63\"",
        1,
    ));
    crate::harness::eventually("the slate is on air", Duration::from_secs(10), || {
        daemon.status()["encoder"]["frames"].as_u64().is_some_and(|frames| frames > 0)
    });
    let slate = shot(&daemon, "");
    assert_eq!(slate.size(), (320, 180));
    assert!(slate.jpeg.len() > 1000, "there is text on it: {} bytes", slate.jpeg.len());
}

#[test]
fn looking_on_costs_no_picture() {
    calmly(3, || {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "");
        let daemon = Daemon::start(&test_stream(port, 300, ""));
        daemon.wait_for("streaming", Duration::from_secs(10));
        // Side by side with the same time without: other tests run meanwhile.
        let missing = |look_on: &dyn Fn()| {
            let counts = || {
                let encoder = daemon.status()["encoder"].clone();
                ["dropped_frames", "lost_frames"].map(|count| encoder[count].as_u64().expect("a number"))
            };
            let (before, began) = (counts(), Instant::now());
            while began.elapsed() < Duration::from_secs(4) {
                look_on();
            }
            counts().iter().sum::<u64>() - before.iter().sum::<u64>()
        };
        let without = missing(&|| std::thread::sleep(Duration::from_millis(100)));
        let with = missing(&|| {
            shot(&daemon, "?width=1280");
            shot(&daemon, "?width=640");
        });
        assert!(with <= without + 2, "{with} pictures missing, and {without} where nobody looks on");
    });
}

#[test]
fn a_snapshot_that_cannot_be_is_a_problem() {
    let daemon =
        Daemon::start(&test_stream(free_port(), 300, "").replacen("enabled = true", "enabled = false", 1));
    for (path, expected) in [
        ("/v1/streams/nobody/snapshot.jpg", 404),
        ("/v1/streams/main/snapshot.jpg", 503),
        ("/v1/streams/main/snapshot.jpg?width=5", 422),
        ("/v1/streams/main/snapshot.jpg?width=wide", 422),
        ("/v1/streams/main/snapshot.jpg?wide=640", 422),
    ] {
        let (status, kind, body) = get(daemon.url(path), &[]);
        assert_eq!((status, kind.as_str()), (expected, "application/problem+json"), "{path}: {body}");
    }
}
