use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::KeyLength;
use crate::transport::srt::shake::write_again;
use crate::transport::srt::{Encryption, Passphrase, Tuning};

const MS: Duration = Duration::from_millis(1);
const WINNER: u32 = 2_000;
const LOSER: u32 = 1_000;

fn terms(passphrase: Option<&str>, latency: Duration) -> Terms {
    let encryption = passphrase
        .map(|word| Encryption { passphrase: Passphrase::new(word).unwrap(), key_length: KeyLength::Aes256 });
    Terms { latency, stream_id: None, encryption, tuning: Tuning::default() }
}

fn side(cookie: u32, terms: Terms, now: Instant) -> Rendezvous {
    let us = Us {
        socket: SocketId(cookie),
        cookie,
        initial_sequence: SeqNumber::new_truncate(cookie),
        epoch: now - 40_000 * MS,
    };
    Rendezvous::new(terms, ([192, 0, 2, 1], 9000).into(), us, now)
}

/// How a side ended.
#[derive(Debug, PartialEq)]
enum End {
    Connected { latency: Duration, peer: u32, encrypted: bool },
    Refused(RefusedBecause),
}

/// Lets two meet over a wire that loses what `is_lost` says, each repeating every 250 ms, the second
/// one coming later by `delay` repetitions. One that is connected answers as a connection does.
fn run(
    mut sides: [Rendezvous; 2],
    start: Instant,
    delay: u32,
    mut is_lost: impl FnMut() -> bool,
) -> [Option<End>; 2] {
    let mut ends = [None, None];
    let mut last_words: [Option<BytesMut>; 2] = [None, None];
    let mut wire: Vec<(usize, BytesMut)> = Vec::new();
    for tick in 0..100u32 {
        let now = start + 250 * MS * tick;
        for index in 0..2 {
            if ends[index].is_none() && (index == 0 || tick >= delay) {
                let mut out = BytesMut::new();
                sides[index].request(now, &mut out);
                wire.push((1 - index, out));
            } else if matches!(ends[index], Some(End::Connected { .. })) {
                // A connection's keep-alive.
                let words = [0x8001_0000u32, 0, 0, sides[1 - index].us.socket.0, 0];
                wire.push((1 - index, words.map(u32::to_be_bytes).concat().as_slice().into()));
            }
        }
        while let Some((to, datagram)) = wire.pop() {
            if is_lost() || to == 1 && tick < delay {
                continue;
            }
            let mut out = BytesMut::new();
            if ends[to].is_some() {
                let repeats = guard::admit(&datagram, sides[to].us.socket) == Ok(Arrival::HandshakeRepeat);
                if let Some(last_word) = last_words[to].as_ref().filter(|_| repeats) {
                    let clock = (now - sides[to].us.epoch).as_micros() as u32;
                    write_again(last_word, clock, &mut out);
                }
            } else {
                match sides[to].receive(now, &datagram, &mut out) {
                    Ok(Step::Connected(established)) => {
                        let settings = &established.core.settings;
                        assert_eq!(settings.init_seq_num, sides[to].us.initial_sequence, "as was told first");
                        ends[to] = Some(End::Connected {
                            latency: established.latency,
                            peer: settings.remote_sockid.0,
                            encrypted: settings.cipher.is_some(),
                        });
                        last_words[to] = established.last_word;
                    }
                    Ok(Step::Refused(reason)) => ends[to] = Some(End::Refused(reason)),
                    Ok(Step::Waiting | Step::Send) | Err(_) => {}
                }
            }
            if !out.is_empty() {
                assert_eq!(&out[8..12], ((now - sides[to].us.epoch).as_micros() as u32).to_be_bytes());
                wire.push((1 - to, out));
            }
        }
    }
    ends
}

fn connected(latency: Duration, peer: u32, encrypted: bool) -> Option<End> {
    Some(End::Connected { latency, peer, encrypted })
}

#[test]
fn both_roles_meet_with_the_larger_latency() {
    let now = Instant::now();
    for secret in [None, Some("correct-horse")] {
        for delay in [0, 1, 5] {
            for cookies in [[WINNER, LOSER], [LOSER, WINNER]] {
                let sides = [
                    side(cookies[0], terms(secret, 300 * MS), now),
                    side(cookies[1], terms(secret, 700 * MS), now),
                ];
                let ends = run(sides, now, delay, || false);
                let expected = [1, 0].map(|other| connected(700 * MS, cookies[other], secret.is_some()));
                assert_eq!(ends, expected);
            }
        }
    }
}

#[test]
fn a_passphrase_that_differs_is_noticed_by_both() {
    let now = Instant::now();
    for (one, other, reason) in [
        (Some("correct-horse"), Some("another-horse"), RefusedBecause::WrongPassphrase),
        (Some("correct-horse"), None, RefusedBecause::UnexpectedPassphrase),
        (None, Some("correct-horse"), RefusedBecause::PassphraseMissing),
    ] {
        for cookies in [[WINNER, LOSER], [LOSER, WINNER]] {
            let sides = [side(cookies[0], terms(one, MS), now), side(cookies[1], terms(other, MS), now)];
            let [first, second] = run(sides, now, 0, || false);
            assert_eq!(first, Some(End::Refused(reason.clone())));
            assert!(matches!(second, Some(End::Refused(_))), "{second:?}");
        }
    }
}

#[test]
fn equal_cookies_do_not_meet_and_a_newcomer_replaces_its_predecessor() {
    let now = Instant::now();
    let mut one = side(WINNER, terms(None, MS), now);
    let (mut wave, mut out) = (BytesMut::new(), BytesMut::new());
    side(WINNER, terms(None, MS), now).request(now, &mut wave);
    assert!(matches!(one.receive(now, &wave, &mut out), Err(Rejection::Unwanted)));
    for socket in [LOSER, LOSER + 1] {
        side(socket, terms(None, MS), now).request(now, &mut wave);
        assert!(matches!(one.receive(now, &wave, &mut out), Ok(Step::Send)));
        assert_eq!(one.peer(), Some(SocketId(socket)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However many datagrams are lost, both sides connect or neither does.
    #[test]
    fn losses_only_delay(
        losses in prop::collection::vec(prop::bool::weighted(0.4), 60),
        first_wins: bool,
        delay in 0u32..4,
    ) {
        let now = Instant::now();
        let cookies = if first_wins { [WINNER, LOSER] } else { [LOSER, WINNER] };
        let sides = cookies.map(|cookie| side(cookie, terms(None, 300 * MS), now));
        let mut losses = losses.into_iter();
        let ends = run(sides, now, delay, || losses.next().unwrap_or(false));
        prop_assert_eq!(ends, [1, 0].map(|other| connected(300 * MS, cookies[other], false)));
    }

    #[test]
    fn any_bytes_are_survived(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        wins: bool,
    ) {
        let now = Instant::now();
        let mut one = side(if wins { WINNER } else { LOSER }, terms(Some("correct-horse"), MS), now);
        let mut other = side(1_500, terms(Some("another-horse"), MS), now);
        let mut out = BytesMut::new();
        for noise in datagrams {
            let mut theirs = BytesMut::new();
            other.request(now, &mut theirs);
            for (at, value) in &mutations {
                let at = at.index(theirs.len());
                theirs[at] = *value;
            }
            for datagram in [&theirs[..], &noise] {
                let step = one.receive(now, datagram, &mut out);
                prop_assert!(!matches!(step, Ok(Step::Connected(_))));
            }
            let mut ours = BytesMut::new();
            one.request(now, &mut ours);
            if other.receive(now, &ours, &mut out).is_ok_and(|step| matches!(step, Step::Refused(_))) {
                break;
            }
        }
    }
}
