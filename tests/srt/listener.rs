//! Callers of other makes get every byte from our listener, or are told why not.

use std::time::Instant;

use super::common::*;
use crate::calm::calmly_async;
use tokio::task::JoinSet;
use uplinkd::config::KeyLength;
use uplinkd::transport::srt::{
    ConnectError, Connection, Ended, Listener, MAX_CALLERS, Reception, RefusedBecause, Target, Tuning,
    connect,
};
use uplinkd::units::Bitrate;

const RATE: Bitrate = Bitrate::from_kbps(6_000);
const COUNT: u64 = 800;
const PASSPHRASE: &str = "correct-horse-battery";

fn reception() -> Reception {
    Reception { local: local(0), latency: 200 * MS, stream_id: None, encryption: None, peak: PEAK }
}

fn secret_reception() -> Reception {
    Reception { encryption: encryption(PASSPHRASE, KeyLength::Aes128), ..reception() }
}

fn listening(reception: &Reception) -> (Listener, u16) {
    let listener = Listener::bind(reception).unwrap();
    let port = listener.local().port();
    (listener, port)
}

async fn accept(listener: &mut Listener) -> Connection {
    let accepted = tokio::time::timeout(5_000 * MS, listener.accept()).await;
    accepted.unwrap_or_else(|_| panic!("nobody called; {} refused", listener.refused())).1
}

/// Sends a known stream to whoever calls next, and compares what arrived.
async fn deliver(mut listener: Listener, peer: Peer) {
    let connection = accept(&mut listener).await;
    deliver_over(connection, peer).await;
}

async fn deliver_over(connection: Connection, peer: Peer) {
    let (ended, measurement) = send(connection, RATE, COUNT).await;
    assert_eq!(ended, Ended::Drained, "{measurement:?}");
    assert_eq!((measurement.late_packets, measurement.acknowledged.packets), (0, COUNT));
    assert_eq!(measurement.rejected_datagrams, 0);
    let received = peer.finish().await;
    assert_eq!(missing(&received, COUNT), NOTHING);
    assert!(received == stream(COUNT), "out of order");
}

/// Every program, plain and with every key length: ours is 16, and the caller's counts.
type Make = fn(&str) -> Peer;

async fn deliver_to(make: Make, key_lengths: &[u32]) {
    let (listener, port) = listening(&reception());
    deliver(listener, make(&format!("127.0.0.1:{port}?mode=caller"))).await;
    for key_length in key_lengths {
        let (listener, port) = listening(&secret_reception());
        let query = format!("mode=caller&passphrase={PASSPHRASE}&pbkeylen={key_length}");
        deliver(listener, make(&format!("127.0.0.1:{port}?{query}"))).await;
    }
}

#[test]
fn srt_live_transmit_plain_and_encrypted() {
    calmly_async(3, || async {
        deliver_to(Peer::srt_live_transmit_at, &[16, 24, 32]).await;
    });
}

#[test]
fn gstreamer_plain_and_encrypted() {
    calmly_async(3, || async {
        deliver_to(Peer::gstreamer_at, &[16, 32]).await;
    });
}

#[test]
fn ffmpeg_plain_and_encrypted() {
    calmly_async(3, || async {
        deliver_to(Peer::ffmpeg_at, &[16, 32]).await;
    });
}

#[test]
fn a_caller_over_ipv6_and_one_over_ipv4_at_the_same_socket() {
    calmly_async(3, || async {
        let (mut listener, port) = listening(&Reception { local: "[::]:0".parse().unwrap(), ..reception() });
        for host in ["[::1]", "127.0.0.1"] {
            let peer = Peer::srt_live_transmit_at(&format!("{host}:{port}?mode=caller"));
            let connection = accept(&mut listener).await;
            deliver_over(connection, peer).await;
        }
    });
}

#[test]
fn several_at_once_each_with_its_own_connection() {
    calmly_async(3, || async {
        let (mut listener, port) = listening(&secret_reception());
        let query = format!("127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}");
        let mut deliveries = JoinSet::new();
        for make in [Peer::srt_live_transmit_at as Make, Peer::ffmpeg_at, Peer::gstreamer_at] {
            let peer = make(&query);
            let connection = accept(&mut listener).await;
            deliveries.spawn(deliver_over(connection, peer));
        }
        while let Some(delivered) = deliveries.join_next().await {
            delivered.unwrap();
        }
        assert_eq!((listener.refused(), listener.rejected_datagrams()), (0, 0));
    });
}

#[test]
fn keys_are_changed_in_the_midst_of_a_stream() {
    calmly_async(3, || async {
        let tuning = Tuning { key_refresh: Some((300, 100)), ..Tuning::default() };
        for make in [Peer::srt_live_transmit_at as Make, Peer::ffmpeg_at] {
            let mut listener = Listener::bind_tuned(&secret_reception(), &tuning).unwrap();
            let port = listener.local().port();
            let peer = make(&format!("127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}&pbkeylen=24"));
            let connection = accept(&mut listener).await;
            deliver_over(connection, peer).await;
        }
    });
}

#[test]
fn the_larger_latency_counts() {
    calmly_async(3, || async {
        let (mut listener, port) = listening(&reception());
        let _peer = Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=caller&rcvlatency=700"));
        assert_eq!(accept(&mut listener).await.latency(), 700 * MS);
        let (mut listener, port) = listening(&Reception { latency: 900 * MS, ..reception() });
        let _peer = Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=caller&rcvlatency=700"));
        assert_eq!(accept(&mut listener).await.latency(), 900 * MS);
    });
}

/// Our own caller tells what it was told.
async fn refused(reception: &Reception, target: impl Fn(u16) -> Target) -> RefusedBecause {
    let (mut listener, port) = listening(reception);
    let target = target(port);
    let answer = tokio::select! {
        _ = listener.accept() => panic!("let in"),
        answer = connect(&target) => answer,
    };
    assert_eq!(listener.refused(), 1);
    match answer {
        Err(ConnectError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_does_not_fit_is_told_why() {
    calmly_async(3, || async {
        let plain = |port| target(local(port), 200 * MS);
        let secret = |word: &'static str| {
            move |port| Target {
                encryption: encryption(word, KeyLength::Aes128),
                ..target(local(port), 200 * MS)
            }
        };
        let asking = |id: &'static str| {
            move |port| Target { stream_id: Some(id.into()), ..target(local(port), 200 * MS) }
        };
        let named = Reception { stream_id: Some("#!::r=live/main".into()), ..reception() };
        let wrong = refused(&secret_reception(), secret("quite another")).await;
        assert_eq!(wrong, RefusedBecause::WrongPassphrase);
        assert_eq!(refused(&secret_reception(), plain).await, RefusedBecause::PassphraseMissing);
        assert_eq!(refused(&reception(), secret(PASSPHRASE)).await, RefusedBecause::UnexpectedPassphrase);
        for unwelcome in [refused(&named, asking("#!::r=live/other")).await, refused(&named, plain).await] {
            assert!(matches!(unwelcome, RefusedBecause::Peer { code: 2404, .. }), "{unwelcome}");
        }
        let (mut listener, port) = listening(&named);
        let target = asking("#!::r=live/main")(port);
        let (_, connected) = tokio::join!(accept(&mut listener), connect(&target));
        connected.unwrap();
    });
}

#[test]
fn libsrt_is_told_in_its_own_codes() {
    calmly_async(3, || async {
        let (mut listener, port) = listening(&secret_reception());
        let peer =
            Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=caller&passphrase=quite%20another"));
        let end = Instant::now() + 5_000 * MS;
        while listener.refused() == 0 {
            assert!(Instant::now() < end);
            let waiting = tokio::time::timeout(100 * MS, listener.accept()).await;
            assert!(waiting.is_err(), "let in");
        }
        tokio::time::sleep(300 * MS).await;
        assert_eq!(peer.received_bytes(), 0);
    });
}

#[test]
fn one_more_than_there_may_be_is_refused_until_one_goes() {
    calmly_async(3, || async {
        let (mut listener, port) = listening(&reception());
        let target = target(local(port), 200 * MS);
        let mut pairs = Vec::new();
        // Eight from one address at once are more than one source may try: the last wait for their turn.
        for _ in 0..MAX_CALLERS {
            let (accepted, connected) = tokio::join!(accept(&mut listener), connect(&target));
            pairs.push((accepted, connected.unwrap()));
        }
        let crowded = tokio::select! {
            _ = listener.accept() => panic!("let in"),
            answer = connect(&target) => answer.unwrap_err(),
        };
        assert!(
            matches!(crowded, ConnectError::Refused { reason: RefusedBecause::Peer { code: 1005, .. }, .. }),
            "{crowded}"
        );
        pairs.pop();
        let (_accepted, connected) = tokio::join!(accept(&mut listener), connect(&target));
        connected.unwrap();
    });
}

#[test]
fn the_port_is_nobody_elses() {
    calmly_async(3, || async {
        let (mut listener, port) = listening(&reception());
        let target = target(local(port), 200 * MS);
        let (_accepted, connected) = tokio::join!(accept(&mut listener), connect(&target));
        connected.unwrap();
        let taken = Listener::bind(&Reception { local: local(port), ..reception() }).err().unwrap();
        assert_eq!(taken.to_string(), format!("cannot listen on 127.0.0.1:{port}"));
    });
}
