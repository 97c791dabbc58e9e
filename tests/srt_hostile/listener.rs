//! Our listener under fire while it serves an honest caller, who must not notice.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::common::*;
use crate::calm::calmly_async;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::{mpsc, watch};
use uplinkd::config::KeyLength;
use uplinkd::transport::srt::{Ended, Listener, Measurement, Reception};
use uplinkd::units::Bitrate;

const RATE: Bitrate = Bitrate::from_kbps(4_000);
const COUNT: u64 = 3_000;
const BARRAGE: u64 = 100_000;
const PASSPHRASE: &str = "correct-horse-battery";

/// Noise, mutated handshakes, forged cookies, and conclusions with the right cookie and a wrong key.
#[test]
fn a_good_caller_does_not_notice_a_hostile_one() {
    calmly_async(3, || async {
        let _alone = super::ALONE.lock().await;
        let reception = Reception {
            local: local(0),
            latency: 500 * MS,
            stream_id: None,
            encryption: encryption(PASSPHRASE, KeyLength::Aes128),
            peak: PEAK,
        };
        let mut listener = Listener::bind(&reception).unwrap();
        let port = listener.local().port();
        let peer =
            Peer::srt_live_transmit_at(&format!("127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}"));
        let (_, connection) = listener.accept().await;
        let (input, mut chunks) = mpsc::channel(512);
        let (report, measurement) = watch::channel(Measurement::new(Instant::now()));
        tokio::spawn(feed(input, RATE, COUNT));
        let running = tokio::spawn(async move { connection.run(&mut chunks, &report, unpaced()).await });
        let watching = tokio::spawn(longest_gap(measurement));
        tokio::time::sleep(300 * MS).await;
        let attack = tokio::task::spawn_blocking(move || assault(local(port)));
        let started = Instant::now();
        let sent = tokio::select! {
            (from, _) = listener.accept() => panic!("{from} was let in"),
            sent = attack => sent.unwrap(),
        };
        eprintln!("{sent} datagrams in {:?}", started.elapsed());

        // One who knows the passphrase is let in after all that.
        let late = Peer::ffmpeg_at(&format!("127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}"));
        let (_, second) = tokio::time::timeout(5_000 * MS, listener.accept()).await.unwrap();
        let (ended, _) = send(second, RATE, 300).await;
        assert_eq!(ended, Ended::Drained);
        assert_eq!(missing(&late.finish().await, 300), NOTHING);

        assert_eq!(running.await.unwrap(), Ended::Drained);
        let (last, longest) = watching.await.unwrap();
        eprintln!("refused {}, rejected {}", listener.refused(), listener.rejected_datagrams());
        eprintln!("longest gap {longest:?}, {last:?}");
        assert_eq!((last.late_packets, last.acknowledged.packets), (0, COUNT));
        assert_eq!(last.rejected_datagrams, 0, "the system keeps them apart");
        assert!(listener.rejected_datagrams() > BARRAGE / 10, "it was under fire");
        assert!(listener.refused() > 0);
        assert_eq!(missing(&peer.finish().await, COUNT), NOTHING);
        assert!(longest < 250 * MS, "{longest:?}");
    });
}

/// From one socket, which therefore gets its cookie; tells how many datagrams were sent.
fn assault(target: SocketAddr) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(target).unwrap();
    socket.set_read_timeout(Some(2_000 * MS)).unwrap();
    let mut random = Pcg64Mcg::seed_from_u64(23);
    socket.send(&handshake(1, 7, 0, &[])).unwrap();
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(length, 64, "a request for a cookie is answered");
    let cookie = u32::from_be_bytes(answer[44..48].try_into().unwrap());
    for number in 0..BARRAGE {
        let datagram = match number % 5 {
            0 => (0..random.gen_range(0..600)).map(|_| random.r#gen()).collect(),
            1 => handshake(1, random.r#gen::<u32>() | 1, 0, &[]),
            2 => handshake(-1, random.r#gen::<u32>() | 1, random.r#gen(), &greeting_and_key(&mut random)),
            3 => handshake(-1, 7, cookie, &greeting_and_key(&mut random)),
            _ => {
                let mut datagram = handshake(-1, 7, cookie, &greeting_and_key(&mut random));
                for _ in 0..random.gen_range(1..6) {
                    let at = random.gen_range(0..datagram.len());
                    datagram[at] = random.r#gen();
                }
                datagram
            }
        };
        socket.send(&datagram).unwrap();
        if number % 64 == 0 {
            std::thread::sleep(MS); // what the receive buffer would only drop proves nothing
        }
    }
    BARRAGE
}

/// A handshake of version 5 to nobody in particular.
fn handshake(kind: i32, socket: u32, cookie: u32, extensions: &[u32]) -> Vec<u8> {
    let fixed = [0x8000_0000, 0, 5, 0, 5, 3, 99, 1500, 8192, kind as u32, socket, cookie, 0, 0, 0, 0];
    fixed.iter().chain(extensions).flat_map(|word| word.to_be_bytes()).collect()
}

/// A greeting of SRT 1.5.1, and a well-formed key that no passphrase of ours opens.
fn greeting_and_key(random: &mut Pcg64Mcg) -> Vec<u32> {
    let mut words = vec![0x0001_0003, 0x0001_0501, 0xbf, 120 << 16 | 120];
    words.extend([0x0003_000e, 0x1220_2901, 0, 0x0200_0200, 0x0000_0404]);
    words.extend((0..10).map(|_| random.r#gen::<u32>()));
    words
}
