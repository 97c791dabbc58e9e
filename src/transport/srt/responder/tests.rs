use bytes::BytesMut;
use proptest::prelude::*;
use srt_protocol::packet::{SeqNumber, SocketId, SrtControlPacket};

use super::*;
use crate::transport::srt::Passphrase;
use crate::transport::srt::shake::{EXTENSION_HSREQ, EXTENSION_KMREQ, Kind};

const MS: Duration = Duration::from_millis(1);
const HEADERS: u32 = 44;
const SID: u16 = 5;
const CONGESTION: u16 = 6;

fn encryption(passphrase: &str) -> Encryption {
    Encryption { passphrase: Passphrase::new(passphrase).unwrap(), key_length: KeyLength::Aes128 }
}

fn terms(passphrase: Option<&str>, stream_id: Option<&str>) -> Terms {
    let (encryption, stream_id) = (passphrase.map(encryption), stream_id.map(str::to_owned));
    Terms { latency: 500 * MS, stream_id, encryption, tuning: Tuning::default() }
}

fn greeting_with(version: u32, flags: u32) -> Vec<u8> {
    let mut extensions = Vec::new();
    let greeting = Greeting { version, flags, receive_latency: 120 * MS, send_latency: 800 * MS };
    greeting.write(EXTENSION_HSREQ, &mut extensions);
    extensions
}

fn with(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut extensions = greeting_with(0x01_05_01, TLPKTDROP_FLAG);
    write_extension(kind, content, &mut extensions);
    extensions
}

/// The key material of an initiator with this passphrase, both keys in it, as the core makes it.
fn key_material(passphrase: &str, key_length: KeyLength) -> Vec<u8> {
    let settings = key_settings(&Passphrase::new(passphrase).unwrap(), key_length);
    let cipher = CipherSettings::new_random(&settings, &key_refresh(&Tuning::default()));
    let mut message = Vec::new();
    SrtControlPacket::KeyRefreshRequest(cipher.wrap_keying_material().unwrap()).serialize(&mut message);
    message
}

fn conclusion(extensions: &[u8]) -> Shake<'_> {
    Shake {
        timestamp: 0,
        destination: SocketId(0),
        version: VERSION_5,
        encryption: 0,
        flags: 1,
        initial_sequence: SeqNumber::new_truncate(5),
        mss: 1500,
        flow_window: 8192,
        kind: Kind::Conclusion,
        socket: SocketId(9),
        cookie: 0,
        address: None,
        extensions,
    }
}

fn judge(terms: &Terms, extensions: &[u8]) -> Result<Agreed, Refusal> {
    vet(terms, &conclusion(extensions), HEADERS)?.unlock()
}

#[test]
fn the_initiators_key_length_counts() {
    let terms = terms(Some("correct-horse"), None);
    for key_length in KeyLength::ALL {
        let message = key_material("correct-horse", key_length);
        let agreed = judge(&terms, &with(EXTENSION_KMREQ, &message)).unwrap();
        assert_eq!(agreed.encryption, encryption_field(key_length));
        assert!(agreed.cipher.is_some());
        let mut out = BytesMut::new();
        Shake { extensions: &agreed.extensions, ..conclusion(&[]) }.write(&mut out);
        let answer = Shake::read(&out).unwrap().extensions().unwrap();
        assert_eq!(answer.key_response, Some(&message[..]), "who opens it says so with the same");
    }
}

#[test]
fn each_misfit_has_its_code() {
    let (plain, secret) = (terms(None, None), terms(Some("correct-horse"), None));
    let named = terms(None, Some("live"));
    let right = with(EXTENSION_KMREQ, &key_material("correct-horse", KeyLength::Aes128));
    let twisted = |at: usize, value: u8| {
        let mut message = key_material("correct-horse", KeyLength::Aes128);
        message[at] = value;
        with(EXTENSION_KMREQ, &message)
    };
    for (terms, extensions, refusal) in [
        (&plain, greeting_with(0x01_02_03, 0), Refusal::TooOld),
        (&plain, vec![], Refusal::Rogue),
        (&plain, greeting_with(0x01_05_01, STREAM_FLAG), Refusal::ByteStream),
        (&plain, with(CONGESTION, b"elif"), Refusal::FileTransfer),
        (&plain, with(7, b",cef"), Refusal::PacketFilter),
        (&plain, with(8, &[0; 8]), Refusal::Group),
        (&named, greeting_with(0x01_05_01, 0), Refusal::UnknownStream),
        (&named, with(SID, b"evil\0\0\0x"), Refusal::UnknownStream),
        (&plain, right.clone(), Refusal::OneSidedEncryption),
        (&secret, greeting_with(0x01_05_01, 0), Refusal::OneSidedEncryption),
        (
            &secret,
            with(EXTENSION_KMREQ, &key_material("something else", KeyLength::Aes128)),
            Refusal::WrongPassphrase,
        ),
        (&secret, with(EXTENSION_KMREQ, &[0; 4]), Refusal::Rogue),
        (&secret, twisted(0, 0x22), Refusal::Rogue),
        (&secret, twisted(3, 2), Refusal::Rogue), // without an even key
        (&secret, twisted(8, 4), Refusal::UnknownCipher), // AES-GCM
        (&secret, twisted(15, 5), Refusal::Rogue),
        (&secret, twisted(40, 0), Refusal::WrongPassphrase),
    ] {
        let refused = judge(terms, &extensions).unwrap_err();
        assert_eq!(refused, refusal);
        assert!((1000..3000).contains(&refused.code()), "{refused}");
    }
    assert!(judge(&named, &with(SID, b"evil")).is_ok());
    assert!(judge(&plain, &with(SID, b"evil")).is_ok(), "who names none takes any");
    assert!(judge(&plain, &with(CONGESTION, b"evil")).is_ok(), "live");
    let small = Shake { mss: 1359, ..conclusion(&right) };
    assert_eq!(vet(&secret, &small, HEADERS).unwrap_err(), Refusal::Rogue);
    let old = Shake { version: 4, ..conclusion(&right) };
    assert_eq!(vet(&secret, &old, HEADERS).unwrap_err(), Refusal::TooOld);
}

#[test]
fn both_latencies_are_the_larger_ones() {
    let agreed = judge(&terms(None, None), &greeting_with(0x01_05_01, 0)).unwrap();
    assert_eq!(agreed.latency, 500 * MS);
    assert!(!agreed.skips_late);
    let mut out = BytesMut::new();
    Shake { extensions: &agreed.extensions, ..conclusion(&[]) }.write(&mut out);
    let response = Shake::read(&out).unwrap().extensions().unwrap().response.unwrap();
    assert_eq!((response.send_latency, response.receive_latency), (500 * MS, 800 * MS));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))] // each derives a key
    /// A key material that is changed anywhere opens nothing, and breaks nothing.
    #[test]
    fn a_damaged_key_is_refused(at: prop::sample::Index, flip in 1u8..) {
        let mut message = key_material("correct-horse", KeyLength::Aes192);
        let at = at.index(message.len());
        message[at] ^= flip;
        let judged = judge(&terms(Some("correct-horse"), None), &with(EXTENSION_KMREQ, &message));
        // The key's index and reserved bytes mean nothing to us; the salt's first half is not part of
        // the lock, and a change of it on the way shows to the initiator, who gets it back.
        let is_ignored = (4..8).contains(&at) || (11..14).contains(&at) || (16..24).contains(&at);
        let is_ignored = is_ignored || at == 3 && flip & 3 == 0;
        prop_assert_eq!(judged.is_ok(), is_ignored, "byte {}", at);
    }
}
