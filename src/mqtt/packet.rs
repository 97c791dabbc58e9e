//! MQTT's packets in one form for both versions, and their bytes, which rumqttc knows.
//!
//! Only what this client says and is told: it publishes with QoS 0 and 1, subscribes with QoS 0, and keeps no session
//! beyond a connection.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::v4 as v3;
use rumqttc::v5::mqttbytes as v5_bytes;
use rumqttc::v5::mqttbytes::v5;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// Who connects, and what the broker says of him once he is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub client_id: String,
    pub keep_alive: Duration,
    pub username: Option<String>,
    pub password: Option<Password>,
    pub will: Message,
}

/// What nobody may read in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

/// What is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    /// The broker keeps it for those who come later; an empty one takes away what is kept.
    pub retain: bool,
    /// A media type. Version 5 only, as is what follows.
    pub content_type: Option<&'static str>,
    /// What the request that this answers came with.
    pub correlation: Option<Bytes>,
    pub properties: Vec<(String, String)>,
}

/// What a broker delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub topic: String,
    pub payload: Bytes,
    /// It was kept: nobody sends it now. From version 5 on also: whoever sends it wants it to be kept.
    pub retained: bool,
    /// Version 5 only, as is what follows.
    pub response_topic: Option<String>,
    pub correlation: Option<Bytes>,
    pub properties: Vec<(String, String)>,
}

/// What this client says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing<'a> {
    Connect(&'a Hello),
    /// With QoS 1 under this number, or with QoS 0.
    Publish(&'a Message, Option<u16>),
    Subscribe(u16, &'a [String]),
    Unsubscribe(u16, &'a [String]),
    Acknowledge(u16),
    Ping,
    Disconnect,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Welcome(Terms),
    Refused(Refusal),
    /// With the number under which it is to be acknowledged.
    Delivery(Delivery, Option<u16>),
    /// With why the broker did not take it.
    Acknowledged(u16, Option<String>),
    /// With why some of the topics are not for us.
    Subscribed(u16, Option<String>),
    Unsubscribed,
    Pong,
    /// Version 5 only.
    Goodbye(String),
}

/// What a broker allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Messages with QoS 1 that may wait to be acknowledged.
    pub window: u16,
    /// QoS 1 is known there.
    pub acknowledges: bool,
    pub retains: bool,
    /// Bytes of a packet.
    pub largest: usize,
    /// What it wants in place of what it was told.
    pub keep_alive: Option<Duration>,
}

/// Why a broker does not let us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Version,
    ClientId,
    /// Username or password, or what they may.
    Login(&'static str),
    Other(String),
}

/// Bytes that are no MQTT.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side speaks no MQTT: {0}")]
pub struct Malformed(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Default for Terms {
    /// What holds where nothing else is said.
    fn default() -> Self {
        Terms { window: u16::MAX, acknowledges: true, retains: true, largest: usize::MAX, keep_alive: None }
    }
}

impl Version {
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        }
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// Where the protocol has no such packet: a text of more than 64 KiB.
    pub fn write(self, packet: &Outgoing<'_>, to: &mut BytesMut) -> Result<(), Malformed> {
        match self {
            Version::V311 => write_v3(packet, to),
            Version::V5 => write_v5(packet, to),
        }
    }

    /// Takes the next packet; `None` while it has not come wholly. `skip` counts bytes of one that is too large,
    /// which is left out.
    ///
    /// # Errors
    /// Where it is none that a broker sends.
    pub fn read(self, from: &mut BytesMut, skip: &mut usize) -> Result<Option<Incoming>, Malformed> {
        loop {
            let skipped = (*skip).min(from.len());
            from.advance(skipped);
            *skip -= skipped;
            let Some(length) = frame_length(from)? else { return Ok(None) };
            if length > LARGEST_PACKET {
                log::warn!(bytes = length; "a message from the MQTT broker is too large, and left out");
                *skip = length;
                continue;
            }
            if from.len() < length {
                return Ok(None);
            }
            // A broker that does not know version 5 answers in its own words.
            let answers_in_v3 = from[..length] == [0x20, 2, 0, 1];
            let mut frame = from.split_to(length);
            return match self {
                Version::V5 if answers_in_v3 => Ok(Some(Incoming::Refused(Refusal::Version))),
                Version::V311 => read_v3(&mut frame).map(Some),
                Version::V5 => read_v5(&mut frame).map(Some),
            };
        }
    }
}

/// Bytes of the packet that begins here, its header included; `None` while that is not there.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut remaining = 0;
    for (place, byte) in bytes.iter().skip(1).take(LONGEST_LENGTH).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some(1 + place + 1 + remaining));
        }
    }
    match bytes.len() > LONGEST_LENGTH {
        true => Err(Malformed("a packet's length has no end".to_owned())),
        false => Ok(None),
    }
}

fn write_v3(packet: &Outgoing<'_>, to: &mut BytesMut) -> Result<(), Malformed> {
    use rumqttc::mqttbytes::QoS;
    let packet = match packet {
        Outgoing::Connect(hello) => {
            let mut connect = v3::Connect::new(hello.client_id.as_str());
            connect.keep_alive = seconds(hello.keep_alive);
            connect.login = hello.username.as_ref().map(|username| v3::Login::new(username, secret(hello)));
            let will = &hello.will;
            connect.last_will = Some(v3::LastWill {
                topic: will.topic.clone(),
                message: will.payload.clone(),
                qos: QoS::AtLeastOnce,
                retain: will.retain,
            });
            v3::Packet::Connect(connect)
        }
        Outgoing::Publish(message, id) => {
            let qos = if id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let mut publish = v3::Publish::from_bytes(message.topic.as_str(), qos, message.payload.clone());
            publish.retain = message.retain;
            publish.pkid = id.unwrap_or_default();
            v3::Packet::Publish(publish)
        }
        Outgoing::Subscribe(id, filters) => {
            let filter = |path: &String| v3::SubscribeFilter::new(path.clone(), QoS::AtMostOnce);
            let mut subscribe = v3::Subscribe::new_many(filters.iter().map(filter));
            subscribe.pkid = *id;
            v3::Packet::Subscribe(subscribe)
        }
        Outgoing::Unsubscribe(id, filters) => {
            v3::Packet::Unsubscribe(v3::Unsubscribe { pkid: *id, topics: filters.to_vec() })
        }
        Outgoing::Acknowledge(id) => v3::Packet::PubAck(v3::PubAck::new(*id)),
        Outgoing::Ping => v3::Packet::PingReq,
        Outgoing::Disconnect => v3::Packet::Disconnect,
    };
    packet.write(to, usize::MAX).map(|_| ()).map_err(|error| Malformed(error.to_string()))
}

fn write_v5(packet: &Outgoing<'_>, to: &mut BytesMut) -> Result<(), Malformed> {
    use v5_bytes::QoS;
    let packet = match packet {
        Outgoing::Connect(hello) => {
            let properties =
                v5::ConnectProperties { max_packet_size: Some(LARGEST_PACKET as u32), ..no_properties() };
            let connect = v5::Connect {
                keep_alive: seconds(hello.keep_alive),
                client_id: hello.client_id.clone(),
                clean_start: true,
                properties: Some(properties),
            };
            let will = v5::LastWill {
                topic: hello.will.topic.clone().into(),
                message: hello.will.payload.clone(),
                qos: QoS::AtLeastOnce,
                retain: hello.will.retain,
                properties: None,
            };
            let login = hello.username.as_ref().map(|username| v5::Login::new(username, secret(hello)));
            v5::Packet::Connect(connect, Some(will), login)
        }
        Outgoing::Publish(message, id) => {
            let qos = if id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let properties = v5::PublishProperties {
                content_type: message.content_type.map(str::to_owned),
                correlation_data: message.correlation.clone(),
                user_properties: message.properties.clone(),
                ..v5::PublishProperties::default()
            };
            let mut publish =
                v5::Publish::new(message.topic.as_str(), qos, message.payload.clone(), Some(properties));
            publish.retain = message.retain;
            publish.pkid = id.unwrap_or_default();
            v5::Packet::Publish(publish)
        }
        Outgoing::Subscribe(id, filters) => {
            let filter = |path: &String| v5::Filter {
                path: path.clone(),
                qos: QoS::AtMostOnce,
                nolocal: true,
                // What somebody wants to be kept is told apart from what he wants once.
                preserve_retain: true,
                retain_forward_rule: v5::RetainForwardRule::OnEverySubscribe,
            };
            let filters = filters.iter().map(filter).collect();
            v5::Packet::Subscribe(v5::Subscribe { pkid: *id, filters, properties: None })
        }
        Outgoing::Unsubscribe(id, filters) => v5::Packet::Unsubscribe(v5::Unsubscribe {
            pkid: *id,
            filters: filters.to_vec(),
            properties: None,
        }),
        Outgoing::Acknowledge(id) => v5::Packet::PubAck(v5::PubAck::new(*id, None)),
        Outgoing::Ping => v5::Packet::PingReq(v5::PingReq),
        Outgoing::Disconnect => {
            v5::Packet::Disconnect(v5::Disconnect::new(v5::DisconnectReasonCode::NormalDisconnection))
        }
    };
    packet.write(to, None).map(|_| ()).map_err(|error| Malformed(error.to_string()))
}

fn no_properties() -> v5::ConnectProperties {
    v5::ConnectProperties::new()
}

fn read_v3(frame: &mut BytesMut) -> Result<Incoming, Malformed> {
    use rumqttc::mqttbytes::QoS;
    let packet = v3::Packet::read(frame, LARGEST_PACKET).map_err(|error| Malformed(error.to_string()))?;
    Ok(match packet {
        v3::Packet::ConnAck(answer) => match answer.code {
            v3::ConnectReturnCode::Success => Incoming::Welcome(Terms::default()),
            v3::ConnectReturnCode::RefusedProtocolVersion => Incoming::Refused(Refusal::Version),
            v3::ConnectReturnCode::BadClientId => Incoming::Refused(Refusal::ClientId),
            v3::ConnectReturnCode::ServiceUnavailable => {
                Incoming::Refused(Refusal::Other("it is not available".to_owned()))
            }
            v3::ConnectReturnCode::BadUserNamePassword => Incoming::Refused(Refusal::Login(WRONG_PASSWORD)),
            v3::ConnectReturnCode::NotAuthorized => Incoming::Refused(Refusal::Login(NOT_AUTHORIZED)),
        },
        v3::Packet::Publish(publish) => {
            let id = acknowledged(publish.pkid, publish.qos == QoS::ExactlyOnce)?;
            let (topic, payload, retained) = (publish.topic, publish.payload, publish.retain);
            Incoming::Delivery(Delivery { topic, payload, retained, ..Delivery::default() }, id)
        }
        v3::Packet::PubAck(ack) => Incoming::Acknowledged(ack.pkid, None),
        v3::Packet::SubAck(ack) => {
            let refused = ack.return_codes.contains(&v3::SubscribeReasonCode::Failure);
            Incoming::Subscribed(ack.pkid, refused.then(|| "it refuses the subscription".to_owned()))
        }
        v3::Packet::UnsubAck(_) => Incoming::Unsubscribed,
        v3::Packet::PingResp => Incoming::Pong,
        other => return Err(unexpected(&format!("{other:?}"))),
    })
}

fn read_v5(frame: &mut BytesMut) -> Result<Incoming, Malformed> {
    let packet = v5::Packet::read(frame, None).map_err(|error| Malformed(error.to_string()))?;
    Ok(match packet {
        v5::Packet::ConnAck(answer) => {
            let said = answer.properties.as_ref().and_then(|properties| properties.reason_string.clone());
            match refusal(answer.code, said) {
                Some(refusal) => Incoming::Refused(refusal),
                None => Incoming::Welcome(terms(answer.properties)),
            }
        }
        v5::Packet::Publish(publish) => {
            let id = acknowledged(publish.pkid, publish.qos == v5_bytes::QoS::ExactlyOnce)?;
            let topic = String::from_utf8(publish.topic.into());
            let topic = topic.map_err(|_| Malformed("a topic is no text".to_owned()))?;
            let properties = publish.properties.unwrap_or_default();
            let delivery = Delivery {
                topic,
                payload: publish.payload,
                retained: publish.retain,
                response_topic: properties.response_topic,
                correlation: properties.correlation_data,
                properties: properties.user_properties,
            };
            Incoming::Delivery(delivery, id)
        }
        v5::Packet::PubAck(ack) => {
            let is_taken =
                matches!(ack.reason, v5::PubAckReason::Success | v5::PubAckReason::NoMatchingSubscribers);
            Incoming::Acknowledged(ack.pkid, (!is_taken).then(|| words(&ack.reason)))
        }
        v5::Packet::SubAck(ack) => {
            let refused =
                |code: &&v5::SubscribeReasonCode| !matches!(code, v5::SubscribeReasonCode::Success(_));
            Incoming::Subscribed(ack.pkid, ack.return_codes.iter().find(refused).map(words))
        }
        v5::Packet::UnsubAck(_) => Incoming::Unsubscribed,
        v5::Packet::PingResp(_) => Incoming::Pong,
        v5::Packet::Disconnect(goodbye) => {
            let said = goodbye.properties.and_then(|properties| properties.reason_string);
            Incoming::Goodbye(match goodbye.reason_code {
                v5::DisconnectReasonCode::SessionTakenOver => SESSION_TAKEN_OVER.to_owned(),
                code => said.unwrap_or_else(|| words(&code)),
            })
        }
        other => return Err(unexpected(&format!("{other:?}"))),
    })
}

/// `None`: it lets us in.
fn refusal(code: v5::ConnectReturnCode, said: Option<String>) -> Option<Refusal> {
    Some(match code {
        v5::ConnectReturnCode::Success => return None,
        v5::ConnectReturnCode::RefusedProtocolVersion | v5::ConnectReturnCode::UnsupportedProtocolVersion => {
            Refusal::Version
        }
        v5::ConnectReturnCode::BadClientId | v5::ConnectReturnCode::ClientIdentifierNotValid => {
            Refusal::ClientId
        }
        v5::ConnectReturnCode::BadUserNamePassword => Refusal::Login(WRONG_PASSWORD),
        v5::ConnectReturnCode::NotAuthorized => Refusal::Login(NOT_AUTHORIZED),
        v5::ConnectReturnCode::Banned => Refusal::Login("it has banned this client"),
        other => Refusal::Other(said.unwrap_or_else(|| words(&other))),
    })
}

fn terms(properties: Option<v5::ConnAckProperties>) -> Terms {
    let Some(properties) = properties else { return Terms::default() };
    let usual = Terms::default();
    Terms {
        window: properties.receive_max.unwrap_or(usual.window),
        acknowledges: properties.max_qos != Some(0),
        retains: properties.retain_available != Some(0),
        largest: properties.max_packet_size.map_or(usual.largest, |bytes| bytes as usize),
        keep_alive: properties.server_keep_alive.map(|seconds| Duration::from_secs(seconds.into())),
    }
}

/// A subscription with QoS 0 is served with QoS 0; a broker that does otherwise may have QoS 1.
fn acknowledged(id: u16, is_exactly_once: bool) -> Result<Option<u16>, Malformed> {
    match (id, is_exactly_once) {
        (_, true) => Err(unexpected("a delivery with QoS 2")),
        (0, false) => Ok(None),
        (id, false) => Ok(Some(id)),
    }
}

fn unexpected(what: &str) -> Malformed {
    let what: String = what.chars().take(LONGEST_QUOTE).collect();
    Malformed(format!("it sends {what}, which nobody asked for"))
}

/// `KeepAliveTimeout` as `keep alive timeout`.
fn words(code: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn seconds(time: Duration) -> u16 {
    u16::try_from(time.as_secs()).unwrap_or(u16::MAX)
}

fn secret(hello: &Hello) -> &str {
    hello.password.as_ref().map_or("", |password| &password.0)
}

/// Bytes of a packet that is read: a patch of everything that a stream has is a twentieth of it.
pub const LARGEST_PACKET: usize = 64 * 1024;

/// Bytes of a packet's length, of the standard.
const LONGEST_LENGTH: usize = 4;

/// Characters of what a peer sends that are repeated in a log.
const LONGEST_QUOTE: usize = 60;

const WRONG_PASSWORD: &str = "username or password is wrong";
const NOT_AUTHORIZED: &str = "username or password is wrong, or they may not connect";
const SESSION_TAKEN_OVER: &str =
    "another client has come with the same client id: give each machine an id of its own";

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            client_id: "uplinkd-a".into(),
            keep_alive: Duration::from_secs(20),
            username: Some("a".into()),
            password: Some(Password("correct horse".into())),
            will: Message {
                topic: "t".into(),
                payload: "offline".into(),
                retain: true,
                ..Message::default()
            },
        }
    }

    fn read(version: Version, bytes: &[u8]) -> Result<Option<Incoming>, Malformed> {
        version.read(&mut BytesMut::from(bytes), &mut 0)
    }

    #[test]
    fn both_versions_greet_in_their_own_words() {
        for (version, level) in [(Version::V311, 4), (Version::V5, 5)] {
            let mut bytes = BytesMut::new();
            version.write(&Outgoing::Connect(&hello()), &mut bytes).unwrap();
            assert_eq!(&bytes[2..9], [0, 4, b'M', b'Q', b'T', b'T', level]);
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains("uplinkd-a") && text.contains("offline") && text.contains("correct horse"));
        }
        assert!(!format!("{:?}", hello()).contains("horse"), "a password is not shown");
    }

    #[test]
    fn a_broker_without_version_5_is_understood() {
        let in_v3 = [0x20, 2, 0, 1];
        assert_eq!(read(Version::V5, &in_v3), Ok(Some(Incoming::Refused(Refusal::Version))));
        assert_eq!(read(Version::V311, &in_v3), Ok(Some(Incoming::Refused(Refusal::Version))));
        let in_v5 = [0x20, 3, 0, 0x84, 0];
        assert_eq!(read(Version::V5, &in_v5), Ok(Some(Incoming::Refused(Refusal::Version))));
    }

    #[test]
    fn a_broker_s_terms_are_read() {
        // Receive maximum 5, maximum QoS 0, retain not available, maximum packet size 4096, keep alive 7 s.
        let bytes = [0x20, 18, 0, 0, 15, 33, 0, 5, 36, 0, 37, 0, 39, 0, 0, 16, 0, 19, 0, 7];
        let keep_alive = Some(Duration::from_secs(7));
        let terms = Terms { window: 5, acknowledges: false, retains: false, largest: 4096, keep_alive };
        assert_eq!(read(Version::V5, &bytes), Ok(Some(Incoming::Welcome(terms))));
    }

    #[test]
    fn packets_are_read_as_they_come_and_large_ones_left_out() {
        let (mut bytes, mut skip) = (BytesMut::new(), 0);
        bytes.extend_from_slice(&[0x30, 0xff, 0xff, 0x7f]); // 2 MiB follow
        let mut large = 2_097_151;
        while large > 0 {
            assert_eq!(Version::V311.read(&mut bytes, &mut skip), Ok(None));
            assert!(bytes.len() <= LARGEST_PACKET, "it is not gathered");
            let part = large.min(10_000);
            bytes.extend_from_slice(&vec![0; part]);
            large -= part;
        }
        bytes.extend_from_slice(&[0xd0, 0]);
        assert_eq!(Version::V311.read(&mut bytes, &mut skip), Ok(Some(Incoming::Pong)));
        assert_eq!(Version::V311.read(&mut bytes, &mut skip), Ok(None));
        let endless = [0x30, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(read(Version::V5, &endless).is_err());
    }

    #[test]
    fn deliveries_bring_what_their_version_has() {
        let message = Message {
            topic: "a/b".into(),
            payload: "{}".into(),
            retain: true,
            correlation: Some("7".into()),
            properties: vec![("if-match".into(), "x".into())],
            ..Message::default()
        };
        for version in [Version::V311, Version::V5] {
            let mut bytes = BytesMut::new();
            version.write(&Outgoing::Publish(&message, Some(3)), &mut bytes).unwrap();
            let Ok(Some(Incoming::Delivery(delivery, Some(3)))) = read(version, &bytes) else {
                panic!("{version:?}")
            };
            assert_eq!((delivery.topic.as_str(), delivery.retained), ("a/b", true));
            assert_eq!(delivery.correlation.is_some(), version == Version::V5);
        }
    }

    #[test]
    fn no_bytes_end_the_program() {
        use proptest::prelude::*;
        proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..16)| {
            let mut framed = vec![kind << 4, bytes.len() as u8 & 0x7f];
            framed.extend(&bytes);
            for version in [Version::V311, Version::V5] {
                let (mut bytes, mut skip) = (BytesMut::from(&framed[..]), 0);
                while let Ok(Some(_)) = version.read(&mut bytes, &mut skip) {}
            }
        });
    }
}
