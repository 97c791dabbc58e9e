//! Receivers of other makes get every byte, and say why they do not want us.

mod srt_common;

use std::net::UdpSocket;
use std::time::Instant;

use srt_common::*;
use uplinkd::config::KeyLength;
use uplinkd::transport::srt::{ConnectError, Ended, RefusedBecause, SilentBecause, Target, connect, resolve};
use uplinkd::units::Bitrate;

/// Sends a known stream and compares what arrived.
async fn deliver(peer: Peer, to: Target) {
    let connection = connect_soon(&to).await;
    let (ended, measurement) = send(connection, RATE, COUNT).await;
    assert_eq!(ended, Ended::Drained);
    assert_eq!(measurement.late_packets, 0);
    assert_eq!(measurement.acknowledged.packets, COUNT);
    assert_eq!(measurement.rejected_datagrams, 0);
    let received = peer.finish().await;
    assert_eq!(missing(&received, COUNT), [0u64; 0]);
    assert!(received == stream(COUNT), "out of order");
}

fn secret(port: u16, key_length: KeyLength) -> Target {
    Target { encryption: encryption(PASSPHRASE, key_length), ..target(local(port), 200 * MS) }
}

#[tokio::test]
async fn srt_live_transmit_plain() {
    let port = free_port();
    deliver(Peer::srt_live_transmit(port, ""), target(local(port), 200 * MS)).await;
}

#[tokio::test]
async fn srt_live_transmit_over_ipv6() {
    let port = free_port();
    let remote = resolve("::1", port).await.unwrap()[0];
    deliver(Peer::srt_live_transmit_v6(port), target(remote, 200 * MS)).await;
}

#[tokio::test]
async fn srt_live_transmit_with_each_key_length() {
    for key_length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, &format!("passphrase={PASSPHRASE}"));
        deliver(peer, secret(port, key_length)).await;
    }
}

#[tokio::test]
async fn gstreamer_plain_and_encrypted() {
    let port = free_port();
    deliver(Peer::gstreamer(port, ""), target(local(port), 200 * MS)).await;
    for key_length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
        let port = free_port();
        let bytes = match key_length {
            KeyLength::Aes128 => 16,
            KeyLength::Aes192 => 24,
            KeyLength::Aes256 => 32,
        };
        let peer = Peer::gstreamer(port, &format!("passphrase={PASSPHRASE}&pbkeylen={bytes}"));
        deliver(peer, secret(port, key_length)).await;
    }
}

#[tokio::test]
async fn ffmpeg_plain_and_encrypted() {
    let port = free_port();
    deliver(Peer::ffmpeg(port, ""), target(local(port), 200 * MS)).await;
    for key_length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
        let port = free_port();
        let peer = Peer::ffmpeg(port, &format!("passphrase={PASSPHRASE}"));
        deliver(peer, secret(port, key_length)).await;
    }
}

#[tokio::test]
async fn a_receiver_that_wants_more_latency_gets_it() {
    let port = free_port();
    let _peer = Peer::srt_live_transmit(port, "rcvlatency=700&peerlatency=100");
    let connection = connect_soon(&target(local(port), 200 * MS)).await;
    assert_eq!(connection.latency(), 700 * MS);
}

#[tokio::test]
async fn a_wrong_passphrase_is_refused_with_its_reason() {
    let port = free_port();
    let _peer = Peer::srt_live_transmit(port, "passphrase=something%20else");
    let refused = refusal(&secret(port, KeyLength::Aes128)).await;
    assert_eq!(refused, RefusedBecause::WrongPassphrase);
}

#[tokio::test]
async fn a_missing_passphrase_is_refused_with_its_reason() {
    let port = free_port();
    let _peer = Peer::srt_live_transmit(port, &format!("passphrase={PASSPHRASE}"));
    let refused = refusal(&target(local(port), 200 * MS)).await;
    assert_eq!(refused, RefusedBecause::PassphraseMissing);
}

#[tokio::test]
async fn a_passphrase_for_a_peer_without_one_is_refused_with_its_reason() {
    for query in ["", "enforcedencryption=0"] {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, query);
        let refused = refusal(&secret(port, KeyLength::Aes128)).await;
        assert_eq!(refused, RefusedBecause::UnexpectedPassphrase, "{query}");
    }
}

#[tokio::test]
async fn a_peer_that_would_take_noise_is_refused() {
    let port = free_port();
    let _peer = Peer::srt_live_transmit(port, "enforcedencryption=0&passphrase=something%20else");
    let refused = refusal(&secret(port, KeyLength::Aes128)).await;
    assert_eq!(refused, RefusedBecause::WrongPassphrase);
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_silence() {
    let closed = target(local(free_port()), 200 * MS);
    let silent_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = target(silent_socket.local_addr().unwrap(), 200 * MS);
    let started = Instant::now();
    let (closed, silent) = tokio::join!(connect(&closed), connect(&silent));
    assert!((2_900 * MS..3_500 * MS).contains(&started.elapsed()), "{:?}", started.elapsed());
    let closed = closed.unwrap_err();
    assert!(matches!(closed, ConnectError::TimedOut { cause: SilentBecause::NoListener, .. }), "{closed}");
    assert!(closed.to_string().ends_with("connection refused by host (no listener on the port)"));
    let silent = silent.unwrap_err();
    assert!(matches!(silent, ConnectError::TimedOut { cause: SilentBecause::NoAnswer, .. }), "{silent}");
    assert!(!silent.is_refusal());
}

async fn refusal(target: &Target) -> RefusedBecause {
    let end = Instant::now() + 6_000 * MS;
    loop {
        match connect(target).await {
            Err(error @ ConnectError::Refused { .. }) => {
                assert!(error.is_refusal());
                let ConnectError::Refused { reason, .. } = error else { unreachable!() };
                return reason;
            }
            other => assert!(Instant::now() < end, "{other:?}"),
        }
    }
}

const RATE: Bitrate = Bitrate::from_kbps(6_000);
const COUNT: u64 = 800;
const PASSPHRASE: &str = "correct-horse-battery";
