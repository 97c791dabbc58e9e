//! Receivers of other makes get every byte, and say why they do not want us.

use std::net::UdpSocket;
use std::time::Instant;

use super::common::*;
use crate::calm::calmly_async;
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
    assert_eq!(missing(&received, COUNT), NOTHING);
    assert!(received == stream(COUNT), "out of order");
}

fn secret(port: u16, key_length: KeyLength) -> Target {
    Target { encryption: encryption(PASSPHRASE, key_length), ..target(local(port), 200 * MS) }
}

#[test]
fn srt_live_transmit_plain() {
    calmly_async(3, || async {
        let port = free_port();
        deliver(Peer::srt_live_transmit(port, ""), target(local(port), 200 * MS)).await;
    });
}

#[test]
fn srt_live_transmit_over_ipv6() {
    calmly_async(3, || async {
        let port = free_port();
        let remote = resolve("::1", port).await.unwrap()[0];
        deliver(Peer::srt_live_transmit_v6(port), target(remote, 200 * MS)).await;
    });
}

#[test]
fn srt_live_transmit_with_each_key_length() {
    calmly_async(3, || async {
        for key_length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
            let port = free_port();
            let peer = Peer::srt_live_transmit(port, &format!("passphrase={PASSPHRASE}"));
            deliver(peer, secret(port, key_length)).await;
        }
    });
}

#[test]
fn gstreamer_plain_and_encrypted() {
    calmly_async(3, || async {
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
    });
}

#[test]
fn ffmpeg_plain_and_encrypted() {
    calmly_async(3, || async {
        let port = free_port();
        deliver(Peer::ffmpeg(port, ""), target(local(port), 200 * MS)).await;
        for key_length in [KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256] {
            let port = free_port();
            let peer = Peer::ffmpeg(port, &format!("passphrase={PASSPHRASE}"));
            deliver(peer, secret(port, key_length)).await;
        }
    });
}

#[test]
fn a_receiver_that_wants_more_latency_gets_it() {
    calmly_async(3, || async {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "rcvlatency=700&peerlatency=100");
        let connection = connect_soon(&target(local(port), 200 * MS)).await;
        assert_eq!(connection.latency(), 700 * MS);
    });
}

#[test]
fn a_wrong_passphrase_is_refused_with_its_reason() {
    calmly_async(3, || async {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "passphrase=something%20else");
        let refused = refusal(&secret(port, KeyLength::Aes128)).await;
        assert_eq!(refused, RefusedBecause::WrongPassphrase);
    });
}

#[test]
fn a_missing_passphrase_is_refused_with_its_reason() {
    calmly_async(3, || async {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, &format!("passphrase={PASSPHRASE}"));
        let refused = refusal(&target(local(port), 200 * MS)).await;
        assert_eq!(refused, RefusedBecause::PassphraseMissing);
    });
}

#[test]
fn a_passphrase_for_a_peer_without_one_is_refused_with_its_reason() {
    calmly_async(3, || async {
        for query in ["", "enforcedencryption=0"] {
            let port = free_port();
            let _peer = Peer::srt_live_transmit(port, query);
            let refused = refusal(&secret(port, KeyLength::Aes128)).await;
            assert_eq!(refused, RefusedBecause::UnexpectedPassphrase, "{query}");
        }
    });
}

#[test]
fn a_peer_that_would_take_noise_is_refused() {
    calmly_async(3, || async {
        let port = free_port();
        let _peer = Peer::srt_live_transmit(port, "enforcedencryption=0&passphrase=something%20else");
        let refused = refusal(&secret(port, KeyLength::Aes128)).await;
        assert_eq!(refused, RefusedBecause::WrongPassphrase);
    });
}

#[test]
fn nobody_there_is_told_apart_from_silence() {
    calmly_async(3, || async {
        let closed = target(local(free_port()), 200 * MS);
        let silent_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = target(silent_socket.local_addr().unwrap(), 200 * MS);
        let started = Instant::now();
        let (closed, silent) = tokio::join!(connect(&closed), connect(&silent));
        assert!((2_900 * MS..3_500 * MS).contains(&started.elapsed()), "{:?}", started.elapsed());
        let closed = closed.unwrap_err();
        assert!(
            matches!(closed, ConnectError::TimedOut { cause: SilentBecause::NoListener, .. }),
            "{closed}"
        );
        assert!(closed.to_string().ends_with("connection refused by host (no listener on the port)"));
        let silent = silent.unwrap_err();
        assert!(matches!(silent, ConnectError::TimedOut { cause: SilentBecause::NoAnswer, .. }), "{silent}");
        assert!(!silent.is_refusal());
    });
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

/// GStreamer's `srtsrc` with a say in who may call: it sees the stream id as libsrt reads it.
#[test]
fn the_stream_id_arrives_and_the_peer_may_refuse_it() {
    calmly_async(3, || async {
        use gst::prelude::*;
        gst::init().unwrap();
        let port = free_port();
        let source = gst::ElementFactory::make("srtsrc")
            .property("uri", format!("srt://127.0.0.1:{port}?mode=listener"))
            .property("authentication", true)
            .build()
            .unwrap();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = seen.clone();
        source.connect("caller-connecting", false, move |values| {
            let stream_id: Option<String> = values[2].get().unwrap();
            let welcome = stream_id.as_deref() == Some(STREAM_ID);
            heard.lock().unwrap().push(stream_id);
            Some(welcome.to_value())
        });
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).build().unwrap();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, &sink]).unwrap();
        source.link(&sink).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let with = |stream_id: &str| Target {
            stream_id: Some(stream_id.to_owned()),
            ..target(local(port), 200 * MS)
        };
        let refused = refusal(&with("#!::r=somebody/else")).await;
        assert!(matches!(refused, RefusedBecause::Peer { .. }), "{refused}");
        let (ended, measurement) = send(connect_soon(&with(STREAM_ID)).await, RATE, 100).await;
        assert_eq!((ended, measurement.acknowledged.packets), (Ended::Drained, 100));
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.first().unwrap().as_deref(), Some("#!::r=somebody/else"));
        assert_eq!(seen.last().unwrap().as_deref(), Some(STREAM_ID));
        pipeline.set_state(gst::State::Null).unwrap();
    });
}

/// `srt-tokio`'s own listener, the other implementation of the protocol.
#[test]
fn srt_tokio_receives_as_well() {
    calmly_async(3, || async {
        use futures_util::StreamExt;
        let port = free_port();
        let listening = srt_tokio::SrtSocket::builder().latency(200 * MS).listen_on(local(port));
        let to = target(local(port), 200 * MS);
        let (socket, connection) = tokio::join!(listening, connect_soon(&to));
        let receiving = tokio::spawn(async move {
            let (mut socket, mut received) = (socket.unwrap(), Vec::new());
            while let Some(Ok((_, data))) = socket.next().await {
                received.extend_from_slice(&data);
            }
            received
        });
        let (ended, _) = send(connection, RATE, COUNT).await;
        assert_eq!(ended, Ended::Drained);
        assert!(receiving.await.unwrap() == stream(COUNT));
    });
}

const STREAM_ID: &str = "#!::m=publish,r=live/main";
