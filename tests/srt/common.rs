//! What the SRT tests share: real listeners, a stream whose every byte can be checked, a sender of it.

#![allow(dead_code)] // each test binary uses its own part

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use uplinkd::config::KeyLength;
use uplinkd::link::relay::Relay;
use uplinkd::transport::Chunk;
use uplinkd::transport::srt::{
    Allowance, Connection, Encryption, Ended, Measurement, Passphrase, Target, Tuning, connect_tuned,
};
use uplinkd::units::Bitrate;

pub const MS: Duration = Duration::from_millis(1);
pub const PEAK: Bitrate = Bitrate::from_kbps(8_000);
pub const PACKET: usize = 1316;
/// What should be missing.
pub const NOTHING: [u64; 0] = [];

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub fn target(remote: SocketAddr, latency: Duration) -> Target {
    Target { remote, latency, stream_id: None, encryption: None, peak: PEAK }
}

pub fn encryption(passphrase: &str, key_length: KeyLength) -> Option<Encryption> {
    let passphrase = Passphrase::new(passphrase).unwrap();
    Some(Encryption { passphrase, key_length })
}

/// A receiver of another make, which writes what it gets to a file.
pub struct Peer {
    child: Child,
    directory: TempDir,
}

impl Peer {
    /// libsrt's own tool; `query` goes into its URI.
    pub fn srt_live_transmit(port: u16, query: &str) -> Peer {
        Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=listener&{query}"))
    }

    /// The same in any mode.
    pub fn srt_live_transmit_at(place: &str) -> Peer {
        let uri = format!("srt://{place}");
        Peer::start("srt-live-transmit", |_| vec!["-q".into(), uri.clone(), "file://con".into()])
    }

    /// The same on IPv6's loopback.
    pub fn srt_live_transmit_v6(port: u16) -> Peer {
        let uri = format!("srt://[::1]:{port}?mode=listener&ipv6only=1");
        Peer::start("srt-live-transmit", |_| vec!["-q".into(), uri.clone(), "file://con".into()])
    }

    /// GStreamer's `srtsrc`.
    pub fn gstreamer(port: u16, query: &str) -> Peer {
        Peer::gstreamer_at(&format!("127.0.0.1:{port}?mode=listener&{query}"))
    }

    /// The same in any mode.
    pub fn gstreamer_at(place: &str) -> Peer {
        let uri = format!("srt://{place}");
        Peer::start("gst-launch-1.0", |_| {
            let words = ["-q", "srtsrc", &format!("uri={uri}"), "!", "fdsink", "fd=1", "sync=false"];
            words.iter().map(|word| word.to_string()).collect()
        })
    }

    /// ffmpeg's own SRT protocol.
    pub fn ffmpeg(port: u16, query: &str) -> Peer {
        Peer::ffmpeg_at(&format!("127.0.0.1:{port}?mode=listener&{query}"))
    }

    /// The same in any mode.
    pub fn ffmpeg_at(place: &str) -> Peer {
        let uri = format!("srt://{place}");
        Peer::start("ffmpeg", |_| {
            let words =
                ["-v", "error", "-f", "data", "-i", &uri, "-map", "0", "-c", "copy", "-f", "data", "-"];
            words.iter().map(|word| word.to_string()).collect()
        })
    }

    fn start(program: &str, arguments: impl Fn(&Path) -> Vec<String>) -> Peer {
        let directory = TempDir::new().unwrap();
        let file = |name| std::fs::File::create(directory.path().join(name)).unwrap();
        let child = Command::new(program)
            .args(arguments(directory.path()))
            .stdin(Stdio::null())
            .stdout(file("received"))
            .stderr(file("log"))
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Peer { child, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn received_bytes(&self) -> u64 {
        std::fs::metadata(self.path("received")).unwrap().len()
    }

    /// Lets it end by itself, so that it writes what it still holds; all that it has written.
    pub async fn finish(mut self) -> Vec<u8> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(told.success() || self.child.try_wait().unwrap().is_some());
        // Now and then libsrt, told to end just when its connection does, never comes back. It has what it was
        // sent, and what it has not written its caller will miss.
        let end = Instant::now() + 5_000 * MS;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() >= end {
                eprintln!("the peer does not end by itself: {}", self.log());
                self.child.kill().unwrap();
            }
            tokio::time::sleep(20 * MS).await;
        }
        std::fs::read(self.path("received")).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().unwrap(); // not an error where it has ended by itself
        self.child.wait().unwrap();
    }
}

/// A libsrt listener behind a link.
pub struct Far {
    pub peer: Peer,
    pub relay: Relay,
    pub to: Target,
    pub up_since: Instant,
}

impl Far {
    pub async fn start(link: &str) -> Far {
        Far::with_latency(link, 500 * MS).await
    }

    pub async fn with_latency(link: &str, latency: Duration) -> Far {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, &format!("latency={}", latency.as_millis()));
        let up_since = Instant::now();
        let relay = Relay::start(local(0), local(port), link.parse().unwrap()).unwrap();
        let to = target(relay.address(), latency);
        Far { peer, relay, to, up_since }
    }
}

/// Connects as soon as the peer has started.
pub async fn connect_soon(target: &Target) -> Connection {
    connect_soon_tuned(target, &Tuning::default()).await
}

pub async fn connect_soon_tuned(target: &Target, tuning: &Tuning) -> Connection {
    let mut last = None;
    for _ in 0..5 {
        match connect_tuned(target, tuning).await {
            Ok(connection) => return connection,
            Err(error) => last = Some(error),
        }
    }
    panic!("{}", last.unwrap());
}

/// Packet `number` of the test stream: seven TS packets whose content follows from the number.
pub fn packet(number: u64) -> Bytes {
    let mut data = vec![0; PACKET];
    for (index, ts) in data.chunks_mut(188).enumerate() {
        ts.fill((number as usize * 7 + index) as u8);
        ts[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10]);
        ts[4..12].copy_from_slice(&number.to_be_bytes());
    }
    data.into()
}

/// The first `count` packets of the test stream.
pub fn stream(count: u64) -> Vec<u8> {
    (0..count).flat_map(packet).collect()
}

/// Packets of 0 to `count` that are not in `received`, which may hold only whole and right ones.
pub fn missing(received: &[u8], count: u64) -> Vec<u64> {
    let mut seen = vec![false; count as usize];
    for chunk in received.chunks(PACKET) {
        let number = u64::from_be_bytes(chunk[4..12].try_into().unwrap());
        assert_eq!(chunk, packet(number), "packet {number} is damaged");
        seen[number as usize] = true;
    }
    (0..count).filter(|number| !seen[*number as usize]).collect()
}

/// Hands over `count` packets at `rate`, in a burst every 10 ms, and closes the input.
pub async fn feed(input: mpsc::Sender<Chunk>, rate: Bitrate, count: u64) {
    let start = Instant::now();
    let interval = rate.time_for(uplinkd::units::ByteCount::new(PACKET as u64));
    for number in 0..count {
        let due = start + interval * number as u32;
        if due > Instant::now() {
            tokio::time::sleep_until((due + 10 * MS).into()).await;
        }
        let chunk = Chunk { captured: Instant::now(), data: packet(number) };
        if input.send(chunk).await.is_err() {
            return; // the connection is over, and says why
        }
    }
}

/// Follows a connection to its end: its last measurement, and the longest time between two. A stall of
/// the connection's task shows as such a gap.
pub async fn longest_gap(mut measurement: watch::Receiver<Measurement>) -> (Measurement, Duration) {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while measurement.changed().await.is_ok() {
        let at = measurement.borrow_and_update().at;
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    let last = measurement.borrow().clone();
    (last, longest)
}

/// As fast as it comes.
pub fn unpaced() -> watch::Receiver<Allowance> {
    watch::channel(Allowance::default()).1
}

/// Sends the first `count` packets at `rate` over a connection until it has drained.
pub async fn send(connection: Connection, rate: Bitrate, count: u64) -> (Ended, Measurement) {
    let (input, mut chunks) = mpsc::channel(512);
    let (report, measurement) = watch::channel(Measurement::new(Instant::now()));
    let feeding = tokio::spawn(feed(input, rate, count));
    let ended = connection.run(&mut chunks, &report, unpaced()).await;
    feeding.abort();
    let last = measurement.borrow().clone();
    (ended, last)
}
