//! Peers of other makes meet us, whichever side's cookie is the larger.

use std::net::SocketAddr;

use super::common::*;
use crate::calm::calmly_async;
use uplinkd::config::KeyLength;
use uplinkd::transport::srt::{
    ConnectError, Ended, RefusedBecause, Target, Tuning, rendezvous, rendezvous_tuned,
};
use uplinkd::units::Bitrate;

const RATE: Bitrate = Bitrate::from_kbps(6_000);
const COUNT: u64 = 400;
const PASSPHRASE: &str = "correct-horse-battery";

/// The peer's own address: another of the loopback's, since both have the same port.
fn there(port: u16) -> SocketAddr {
    ([127, 0, 0, 2], port).into()
}

fn meeting(port: u16, encrypted: bool) -> Target {
    let encryption = encrypted.then(|| encryption(PASSPHRASE, KeyLength::Aes128).unwrap());
    Target { encryption, ..target(there(port), 200 * MS) }
}

async fn deliver(target: Target, tuning: &Tuning, peer: Peer) {
    let meeting = tokio::time::timeout(8_000 * MS, rendezvous_tuned(&target, tuning)).await;
    let connection = meeting.unwrap_or_else(|_| panic!("nobody met: {}", peer.log())).unwrap();
    let (ended, measurement) = send(connection, RATE, COUNT).await;
    assert_eq!(ended, Ended::Drained, "{measurement:?}");
    assert_eq!((measurement.late_packets, measurement.acknowledged.packets), (0, COUNT));
    let received = peer.finish().await;
    assert_eq!(missing(&received, COUNT), NOTHING);
    assert!(received == stream(COUNT), "out of order");
}

/// Cookies are random, so that half of these are proposals of ours and half of theirs.
#[test]
fn srt_live_transmit_meets_us_plain_and_encrypted() {
    calmly_async(3, || async {
        for round in 0..10 {
            let port = free_port();
            let encrypted = round % 2 == 1;
            let secret = if encrypted { format!("&passphrase={PASSPHRASE}") } else { String::new() };
            let place = format!("127.0.0.1:{port}?mode=rendezvous&adapter=127.0.0.2{secret}");
            let peer = Peer::srt_live_transmit_at(&place);
            let tuning = Tuning {
                key_refresh: (round == 3).then_some((150, 60)),
                // We are there first every other time.
                ..Tuning::default()
            };
            if round % 4 >= 2 {
                tokio::time::sleep(400 * MS).await;
            }
            deliver(meeting(port, encrypted), &tuning, peer).await;
        }
    });
}

#[test]
fn gstreamer_meets_us() {
    calmly_async(3, || async {
        for encrypted in [false, true] {
            let port = free_port();
            let secret = if encrypted { format!("&passphrase={PASSPHRASE}") } else { String::new() };
            let place =
                format!("127.0.0.1:{port}?mode=rendezvous&localaddress=127.0.0.2&localport={port}{secret}");
            deliver(meeting(port, encrypted), &Tuning::default(), Peer::gstreamer_at(&place)).await;
        }
    });
}

#[test]
fn a_wrong_passphrase_is_noticed_by_whoever_proposes() {
    calmly_async(3, || async {
        for _ in 0..4 {
            let port = free_port();
            let place =
                format!("127.0.0.1:{port}?mode=rendezvous&adapter=127.0.0.2&passphrase=something%20else");
            let _peer = Peer::srt_live_transmit_at(&place);
            let refused = tokio::time::timeout(8_000 * MS, rendezvous(&meeting(port, true))).await.unwrap();
            match refused {
                // libsrt, to which we have proposed, hangs up; what it proposes we judge ourselves.
                Err(ConnectError::Refused {
                    reason: RefusedBecause::WrongPassphrase | RefusedBecause::Unexplained,
                    ..
                }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}
