//! A live connection to libsrt under fire: nothing falls over, nothing stalls, everything is counted.

use std::net::UdpSocket;
use std::time::Instant;

use super::common::*;
use crate::calm::calmly_async;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::{mpsc, watch};
use uplinkd::link::relay::Relay;
use uplinkd::transport::srt::{Ended, Measurement};
use uplinkd::units::Bitrate;

const RATE: Bitrate = Bitrate::from_kbps(4_000);
const COUNT: u64 = 4_000;
const BARRAGE: u64 = 100_000;

/// From the peer's own address and for the right socket, as only somebody on the path could, and from
/// elsewhere; while a stream runs, of which nothing may get lost.
#[test]
fn a_barrage_from_on_and_off_the_path_is_survived() {
    calmly_async(3, || async {
        let _alone = super::ALONE.lock().await;
        let port = free_port();
        let peer = Peer::srt_live_transmit(port, "latency=500");
        let relay = Relay::start(local(0), local(port), "delay=10ms".parse().unwrap()).unwrap();
        let connection = connect_soon(&target(relay.address(), 500 * MS)).await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, measurement) = watch::channel(Measurement::new(Instant::now()));
        tokio::spawn(feed(input, RATE, COUNT));
        let running = tokio::spawn(async move { connection.run(&mut chunks, &report, unpaced()).await });
        let watching = tokio::spawn(longest_gap(measurement));
        tokio::time::sleep(500 * MS).await;
        let on_the_path = std::thread::spawn(move || {
            let socket = relay.client_srt_socket().unwrap();
            let client = relay.client().unwrap();
            let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut random = Pcg64Mcg::seed_from_u64(17);
            for number in 0..2 * BARRAGE {
                let datagram =
                    if number % 2 == 0 { noise(&mut random, socket) } else { forged(&mut random, socket) };
                // The send itself may find a buffer full: those did not get through to anybody.
                let sent = match number % 4 {
                    0 | 1 => relay.inject(&datagram),
                    _ => stranger.send_to(&datagram, client).map(|_| ()),
                };
                sent.unwrap();
                if number % 64 == 0 {
                    std::thread::sleep(MS); // what the receive buffer would only drop proves nothing
                }
            }
            relay
        });
        let _relay = tokio::task::spawn_blocking(|| on_the_path.join().unwrap()).await.unwrap();
        let ended = running.await.unwrap();
        let (last, longest) = watching.await.unwrap();
        eprintln!("{} rejected, longest gap {longest:?}, {last:?}", last.rejected_datagrams);
        assert_eq!(ended, Ended::Drained);
        assert!(last.rejected_datagrams > BARRAGE * 3 / 5, "{last:?}");
        assert_eq!(missing(&peer.finish().await, COUNT), NOTHING);
        // Two report intervals; the machine may be busy, so that this is a bound for a stall only.
        assert!(longest < 250 * MS, "{longest:?}");
    });
}

fn noise(random: &mut Pcg64Mcg, socket: u32) -> Vec<u8> {
    let mut datagram: Vec<u8> = (0..random.gen_range(0..600)).map(|_| random.r#gen()).collect();
    if datagram.len() >= 16 {
        datagram[12..16].copy_from_slice(&socket.to_be_bytes());
        if datagram[..2] == [0x80, 5] {
            datagram[1] = 4; // a Shutdown for the right socket is one, whoever sends it
        }
    }
    datagram
}

/// Each control type, with fields that are sometimes plausible.
fn forged(random: &mut Pcg64Mcg, socket: u32) -> Vec<u8> {
    let kind = [0u32, 1, 3, 4, 6, 7, 8, 0x7fff][random.gen_range(0..8)];
    let subtype = if kind == 0x7fff { random.gen_range(0..9) } else { 0 };
    let mut words = vec![0x8000_0000 | kind << 16 | subtype, random.gen_range(0..4), random.r#gen(), socket];
    for _ in 0..random.gen_range(0..20) {
        words.push(if random.r#gen() { random.r#gen() } else { random.gen_range(0..100_000) });
    }
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
