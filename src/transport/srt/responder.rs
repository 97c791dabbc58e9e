//! The responder's side of SRT's handshake: what an initiator may want, and what it gets.
//!
//! A listener is the responder of all its callers; in a rendezvous one of the two is. The initiator's
//! Conclusion says everything: latencies, stream id, key. It is judged in two steps, because they
//! differ in price: [`vet`] compares a few words, [`Vetted::unlock`] derives a key from the
//! passphrase, which takes a millisecond on purpose.
//!
//! `srt-protocol` does the same in its `gen_hsv5_response`, which cannot be used: it ends the task
//! (`unimplemented!`) at a key of another length and at a key where none is wanted, and answers with
//! the two latencies in each other's place.

use std::fmt;
use std::time::Duration;

use srt_protocol::packet::{Auth, CipherType, KeyFlags, KeyingMaterialMessage, PacketType};
use srt_protocol::settings::{CipherSettings, KeySettings};

use super::guard::be32;
use super::handshake::{greeting, key_refresh, key_settings};
use super::shake::{
    EXTENSION_HSRSP, EXTENSION_KMRSP, Extensions, Greeting, HAS_GREETING, HAS_KEY, Shake, VERSION_5, text,
    write_extension,
};
use super::{Encryption, PAYLOAD_BYTES, Tuning};
use crate::config::KeyLength;

/// What we ask of an initiator.
#[derive(Clone, Debug)]
pub struct Terms {
    pub latency: Duration,
    /// None takes any.
    pub stream_id: Option<String>,
    pub encryption: Option<Encryption>,
    pub tuning: Tuning,
}

/// Why an initiator is turned away, in SRT's own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A handshake before version 5, or an SRT before 1.3.
    TooOld,
    /// It says something that makes no sense.
    Rogue,
    WrongPassphrase,
    /// One side encrypts, and the other does not.
    OneSidedEncryption,
    /// Another cipher than AES-CTR.
    UnknownCipher,
    /// It wants a stream of bytes in place of packets.
    ByteStream,
    /// It wants the congestion control for files.
    FileTransfer,
    /// It wants forward error correction.
    PacketFilter,
    /// It wants to bond several connections.
    Group,
    /// There is no stream of that name here.
    UnknownStream,
    /// As many as there may be are here already.
    Crowded,
}

/// An initiator about whom all is well but its key, which was not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Vetted<'a> {
    terms: &'a Terms,
    greeting: Greeting,
    proposal: Option<Proposal<'a>>,
}

/// What both sides have agreed to.
#[derive(Debug)]
pub struct Agreed {
    pub cipher: Option<CipherSettings>,
    /// The larger of ours and the receiver's.
    pub latency: Duration,
    /// The receiver skips what is too late (TLPKTDROP).
    pub skips_late: bool,
    /// Of our Conclusion.
    pub extensions: Vec<u8>,
    pub flags: u16,
    pub encryption: u16,
}

/// The key that an initiator has made, locked by the passphrase.
#[derive(Clone, Copy, Debug)]
struct Proposal<'a> {
    key_length: KeyLength,
    keys: KeyFlags,
    /// As it came: whoever can unlock it answers with the same.
    message: &'a [u8],
}

impl Refusal {
    /// As the handshake carries it: 1000 and one of libsrt's `SRT_REJECT_REASON`, or one of its
    /// codes for applications, which follow HTTP's.
    pub fn code(self) -> i32 {
        match self {
            Refusal::Rogue => 1004,
            Refusal::Crowded => 1005, // SRT_REJ_BACKLOG
            Refusal::TooOld => 1008,
            Refusal::WrongPassphrase => 1010,
            Refusal::OneSidedEncryption => 1011,
            Refusal::ByteStream => 1012,
            Refusal::FileTransfer => 1013,
            Refusal::PacketFilter => 1014,
            Refusal::Group => 1015,
            Refusal::UnknownCipher => 1017,
            Refusal::UnknownStream => 2404, // SRT_REJX_NOTFOUND
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::TooOld => "its SRT is older than 1.3",
            Refusal::Rogue => "its handshake makes no sense",
            Refusal::WrongPassphrase => "its passphrase is not ours",
            Refusal::OneSidedEncryption => "only one side has a passphrase",
            Refusal::UnknownCipher => "it wants another cipher than AES-CTR",
            Refusal::ByteStream => "it wants a byte stream (messageapi)",
            Refusal::FileTransfer => "it wants file transfer",
            Refusal::PacketFilter => "it wants a packet filter",
            Refusal::Group => "it wants a bonded connection",
            Refusal::UnknownStream => "it wants another stream id",
            Refusal::Crowded => "there are as many callers as there may be",
        })
    }
}

/// Judges an initiator's Conclusion by all that costs nothing.
pub fn vet<'a>(terms: &'a Terms, shake: &Shake<'a>, headers: u32) -> Result<Vetted<'a>, Refusal> {
    if shake.version != VERSION_5 {
        return Err(Refusal::TooOld);
    }
    let extensions: Extensions<'a> = shake.extensions().map_err(|_| Refusal::Rogue)?;
    let greeting = extensions.request.ok_or(Refusal::Rogue)?;
    if greeting.version < OLDEST_SRT {
        return Err(Refusal::TooOld);
    }
    if shake.mss < PAYLOAD_BYTES as u32 + headers {
        return Err(Refusal::Rogue);
    }
    if greeting.flags & STREAM_FLAG != 0 {
        return Err(Refusal::ByteStream);
    }
    if extensions.congestion.is_some_and(|name| text(name) != LIVE) {
        return Err(Refusal::FileTransfer);
    }
    if extensions.has_filter {
        return Err(Refusal::PacketFilter);
    }
    if extensions.has_group {
        return Err(Refusal::Group);
    }
    let asked = extensions.stream_id.map(text).unwrap_or_default();
    if terms.stream_id.as_ref().is_some_and(|expected| expected.as_bytes() != asked) {
        return Err(Refusal::UnknownStream);
    }
    if extensions.key_request.is_some() != terms.encryption.is_some() {
        return Err(Refusal::OneSidedEncryption);
    }
    let proposal = extensions.key_request.map(Proposal::read).transpose()?;
    Ok(Vetted { terms, greeting, proposal })
}

impl Vetted<'_> {
    /// Derives the key that locks the initiator's, and answers with ours of everything.
    pub fn unlock(&self) -> Result<Agreed, Refusal> {
        let Terms { latency: ours, encryption, tuning, .. } = self.terms;
        let cipher = match (encryption, &self.proposal) {
            (Some(encryption), Some(proposal)) => Some(proposal.unlock(encryption, tuning)?),
            (None, _) | (_, None) => None,
        };
        let latency = self.greeting.receive_latency.max(*ours);
        let mut extensions = Vec::with_capacity(128);
        // Both are the responder's last word: what the initiator sends would be held for the first,
        // what it receives is held for the second.
        let receive_latency = self.greeting.send_latency.max(*ours);
        greeting(receive_latency, latency).write(EXTENSION_HSRSP, &mut extensions);
        if let Some(proposal) = &self.proposal {
            write_extension(EXTENSION_KMRSP, proposal.message, &mut extensions);
        }
        Ok(Agreed {
            latency,
            skips_late: self.greeting.flags & TLPKTDROP_FLAG != 0,
            extensions,
            flags: if cipher.is_some() { HAS_GREETING | HAS_KEY } else { HAS_GREETING },
            encryption: self.proposal.as_ref().map_or(0, |proposal| encryption_field(proposal.key_length)),
            cipher,
        })
    }
}

impl<'a> Proposal<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Refusal> {
        let head: &[u8; KEY_HEAD_BYTES] = message.first_chunk().ok_or(Refusal::Rogue)?;
        let [cipher, authentication, encapsulation, _] = be32(head, 8).to_be_bytes();
        if be32(head, 0) & !0xff != KEY_SIGNATURE || encapsulation != ENCAPSULATION_SRT {
            return Err(Refusal::Rogue);
        }
        if (cipher, authentication) != (CIPHER_CTR, 0) {
            return Err(Refusal::UnknownCipher);
        }
        let fitting = |length: &KeyLength| length.bytes() == usize::from(head[15]) * 4;
        let key_length = KeyLength::ALL.into_iter().find(fitting).ok_or(Refusal::Rogue)?;
        let keys = KeyFlags::from_bits_truncate(head[3]);
        let count = keys.bits().count_ones() as usize;
        let length = KEY_HEAD_BYTES + SALT_BYTES + count * key_length.bytes() + WRAP_BYTES;
        // The first packets are sent with the even key, by everybody.
        let is_usable = keys.contains(KeyFlags::EVEN);
        if !is_usable || usize::from(head[14]) * 4 != SALT_BYTES || message.len() != length {
            return Err(Refusal::Rogue);
        }
        Ok(Proposal { key_length, keys, message })
    }

    /// In the initiator's key length, whatever ours is: libsrt takes it so too.
    fn unlock(&self, encryption: &Encryption, tuning: &Tuning) -> Result<CipherSettings, Refusal> {
        let (salt, wrapped) = self.message[KEY_HEAD_BYTES..].split_at(SALT_BYTES);
        let message = KeyingMaterialMessage {
            pt: PacketType::KeyingMaterial,
            key_flags: self.keys,
            keki: be32(self.message, 4),
            cipher: CipherType::Ctr,
            auth: Auth::None,
            salt: salt.to_vec(),
            wrapped_keys: wrapped.to_vec(),
        };
        let settings: KeySettings = key_settings(&encryption.passphrase, self.key_length);
        CipherSettings::new(&settings, &key_refresh(tuning), &message).map_err(|_| Refusal::WrongPassphrase)
    }
}

/// A key length as the type field of a handshake has it.
pub fn encryption_field(key_length: KeyLength) -> u16 {
    match key_length {
        KeyLength::Aes128 => 2,
        KeyLength::Aes192 => 3,
        KeyLength::Aes256 => 4,
    }
}

/// The first SRT with handshakes of version 5.
const OLDEST_SRT: u32 = 0x01_03_00;
/// `SRT_OPT_TLPKTDROP`.
pub const TLPKTDROP_FLAG: u32 = 0x08;
/// `SRT_OPT_STREAM`.
const STREAM_FLAG: u32 = 0x40;
/// The name of the only congestion control for us.
const LIVE: &[u8] = b"live";
/// Version 1, type 2 (keying material), "HAI" in three times five bits; the last byte is flags.
const KEY_SIGNATURE: u32 = 0x1220_2900;
const KEY_HEAD_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
/// What AES key wrap adds.
const WRAP_BYTES: usize = 8;
const CIPHER_CTR: u8 = 2;
const ENCAPSULATION_SRT: u8 = 2;

#[cfg(test)]
mod tests;
