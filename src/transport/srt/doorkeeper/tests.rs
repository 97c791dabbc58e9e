use proptest::prelude::*;
use srt_protocol::packet::SeqNumber;

use super::*;
use crate::config::KeyLength;
use crate::transport::srt::responder::TLPKTDROP_FLAG;
use crate::transport::srt::shake::{EXTENSION_HSREQ, Greeting, HAS_GREETING};
use crate::transport::srt::{Encryption, Passphrase, Tuning};

const MS: Duration = Duration::from_millis(1);
const FRESH: SocketId = SocketId(0x0102_0304);
const CALLER: SocketId = SocketId(77);

fn terms(encrypted: bool) -> Terms {
    let passphrase = Passphrase::new("correct-horse").unwrap();
    let encryption = encrypted.then_some(Encryption { passphrase, key_length: KeyLength::Aes192 });
    Terms { latency: 500 * MS, stream_id: None, encryption, tuning: Tuning::default() }
}

fn keeper(now: Instant) -> Doorkeeper {
    Doorkeeper::new(terms(false), RandomState::new(), now)
}

fn address(last: u8) -> SocketAddr {
    ([192, 0, 2, last], 5000).into()
}

fn request(kind: Kind, cookie: u32, extensions: &[u8]) -> Shake<'_> {
    Shake {
        timestamp: 0,
        destination: NOBODY,
        version: if kind == Kind::Induction { 4 } else { VERSION_5 },
        encryption: 0,
        flags: HAS_GREETING,
        initial_sequence: SeqNumber::new_truncate(1234),
        mss: 1500,
        flow_window: 8192,
        kind,
        socket: CALLER,
        cookie,
        address: None,
        extensions,
    }
}

fn greeting() -> Vec<u8> {
    let mut extensions = Vec::new();
    let flags = TLPKTDROP_FLAG | 3;
    let (receive_latency, send_latency) = (700 * MS, 120 * MS);
    Greeting { version: 0x01_05_01, flags, receive_latency, send_latency }
        .write(EXTENSION_HSREQ, &mut extensions);
    extensions
}

/// What the keeper answers to that.
fn say(
    keeper: &mut Doorkeeper,
    now: Instant,
    from: SocketAddr,
    shake: &Shake<'_>,
) -> (Result<Verdict, Rejection>, BytesMut) {
    let (mut datagram, mut out) = (BytesMut::new(), BytesMut::new());
    shake.write(&mut datagram);
    let verdict = keeper.receive(now, from, &datagram, FRESH, &mut out);
    (verdict, out)
}

fn cookie(keeper: &mut Doorkeeper, now: Instant, from: SocketAddr) -> u32 {
    let (verdict, out) = say(keeper, now, from, &request(Kind::Induction, 0, &[]));
    assert!(matches!(verdict, Ok(Verdict::Answer)));
    let answer = Shake::read(&out).unwrap();
    assert_eq!((answer.version, answer.flags, answer.destination), (VERSION_5, SRT_MAGIC, CALLER));
    answer.cookie
}

#[test]
fn a_caller_that_has_heard_us_is_let_in_with_our_clock_and_the_larger_latency() {
    let start = Instant::now();
    let mut keeper = keeper(start);
    let cookie = cookie(&mut keeper, start, address(1));
    let (now, extensions) = (start + 80 * MS, greeting());
    let (verdict, out) = say(&mut keeper, now, address(1), &request(Kind::Conclusion, cookie, &extensions));
    let Ok(Verdict::Welcome(established)) = verdict else { panic!("not let in") };
    assert_eq!((established.latency, established.rtt), (700 * MS, 80 * MS));
    assert!(established.skips_late);
    assert_eq!(established.core.settings.init_seq_num.as_raw(), 1234);
    let answer = Shake::read(&out).unwrap();
    assert_eq!((answer.kind, answer.socket, answer.destination), (Kind::Conclusion, FRESH, CALLER));
    let lead = Tuning::default().lead;
    assert_eq!(answer.timestamp, lead.as_micros() as u32);
    assert_eq!(established.core.settings.socket_start_time + lead, now);
    let response = answer.extensions().unwrap().response.unwrap();
    assert_eq!((response.send_latency, response.receive_latency), (700 * MS, 500 * MS));

    // It did not hear that: the same again, with the time of now.
    let later = now + 250 * MS;
    let (verdict, again) =
        say(&mut keeper, later, address(1), &request(Kind::Conclusion, cookie, &extensions));
    assert!(matches!(verdict, Ok(Verdict::Answer)));
    assert_eq!(Shake { timestamp: answer.timestamp + 250_000, ..answer }, Shake::read(&again).unwrap());
}

#[test]
fn a_cookie_is_good_for_one_address_and_two_minutes() {
    let start = Instant::now();
    let extensions = greeting();
    let attempt = |from: SocketAddr, after: Duration, twist: u32| {
        let mut keeper = keeper(start);
        let cookie = cookie(&mut keeper, start, address(1)) ^ twist;
        say(&mut keeper, start + after, from, &request(Kind::Conclusion, cookie, &extensions)).0
    };
    assert!(matches!(attempt(address(1), 119_000 * MS, 0), Ok(Verdict::Welcome(_))));
    assert!(matches!(attempt(address(1), 120_000 * MS, 0), Err(Rejection::Forged)));
    assert!(matches!(attempt(address(2), MS, 0), Err(Rejection::Forged)));
    assert!(matches!(attempt(address(1), MS, 1), Err(Rejection::Forged)));
    let (mut one, mut other) = (keeper(start), keeper(start));
    let same = cookie(&mut one, start, address(1)) == cookie(&mut other, start, address(1));
    assert!(!same, "every listener has a secret of its own");
}

#[test]
fn a_flood_of_forged_calls_leaves_nothing_behind() {
    let start = Instant::now();
    let mut keeper = keeper(start);
    let extensions = greeting();
    for number in 0..10_000u32 {
        let from = SocketAddr::from((number.to_be_bytes(), 5000));
        let induction = Shake { socket: SocketId(number + 1), ..request(Kind::Induction, 0, &[]) };
        assert!(matches!(say(&mut keeper, start, from, &induction).0, Ok(Verdict::Answer)));
        let forged = request(Kind::Conclusion, number, &extensions);
        assert!(matches!(say(&mut keeper, start, from, &forged).0, Err(Rejection::Forged)));
    }
    assert_eq!((keeper.guests.len(), keeper.attempts.sources()), (0, 0));
    assert_eq!(keeper.knocks.0.len(), KNOCKS);
    // An honest caller in the midst of it is let in; only its round trip is unknown.
    let cookie = keeper.cookie(address(1), 0);
    let (verdict, _) = say(&mut keeper, start, address(1), &request(Kind::Conclusion, cookie, &extensions));
    let Ok(Verdict::Welcome(established)) = verdict else { panic!("not let in") };
    assert_eq!(established.rtt, UNKNOWN_RTT);
}

#[test]
fn there_is_a_place_for_so_many_and_those_who_go_leave_theirs() {
    let start = Instant::now();
    let mut keeper = keeper(start);
    let extensions = greeting();
    let call = |keeper: &mut Doorkeeper, number: u8, at: Duration| {
        let (mut datagram, mut out) = (BytesMut::new(), BytesMut::new());
        let cookie = cookie(keeper, start + at, address(number));
        request(Kind::Conclusion, cookie, &extensions).write(&mut datagram);
        keeper.receive(start + at, address(number), &datagram, SocketId(number.into()), &mut out)
    };
    for number in 0..MAX_CALLERS as u8 {
        let verdict = call(&mut keeper, number + 1, 1000 * MS * u32::from(number));
        assert!(matches!(verdict, Ok(Verdict::Welcome(_))), "{number}");
    }
    let verdict = call(&mut keeper, 100, 30_000 * MS);
    assert!(matches!(verdict, Ok(Verdict::Refuse(Refusal::Crowded))));
    keeper.retain(|socket| socket != SocketId(3));
    assert!(matches!(call(&mut keeper, 100, 30_000 * MS), Ok(Verdict::Welcome(_))));
}

#[test]
fn another_socket_at_a_guests_address_waits_until_it_is_gone() {
    let start = Instant::now();
    let mut keeper = keeper(start);
    let extensions = greeting();
    let cookie = cookie(&mut keeper, start, address(1));
    let first = request(Kind::Conclusion, cookie, &extensions);
    assert!(matches!(say(&mut keeper, start, address(1), &first).0, Ok(Verdict::Welcome(_))));
    let second = Shake { socket: SocketId(78), ..first };
    assert!(matches!(say(&mut keeper, start, address(1), &second).0, Err(Rejection::Unwanted)));
    keeper.retain(|_| false);
    assert!(matches!(say(&mut keeper, start, address(1), &second).0, Ok(Verdict::Welcome(_))));
}

proptest! {
    /// Whatever arrives, from somebody who knows the cookie even: no panic, nothing kept beyond bounds,
    /// and no key that opens.
    #[test]
    fn any_bytes_are_survived(
        datagrams in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..240), any::<[bool; 3]>()), 1..40),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let start = Instant::now();
        let mut keeper = Doorkeeper::new(terms(true), RandomState::new(), start);
        let cookie = keeper.cookie(address(1), 0);
        for (bytes, [is_handshake, is_conclusion, has_greeting]) in datagrams {
            let mut datagram = bytes;
            if is_handshake {
                let extensions = if has_greeting { [greeting(), datagram].concat() } else { datagram };
                let kind = if is_conclusion { Kind::Conclusion } else { Kind::Induction };
                let mut out = BytesMut::new();
                request(kind, cookie, &extensions).write(&mut out);
                datagram = out.to_vec();
                for (at, value) in &flips {
                    let at = at.index(datagram.len());
                    datagram[at] = *value;
                }
            }
            let mut out = BytesMut::new();
            let verdict = keeper.receive(start, address(1), &datagram, FRESH, &mut out);
            prop_assert!(!matches!(verdict, Ok(Verdict::Welcome(_))));
            prop_assert!(keeper.guests.is_empty());
            if verdict.is_ok() {
                prop_assert!(out.len() <= datagram.len(), "an answer amplifies nothing");
            }
        }
    }
}
