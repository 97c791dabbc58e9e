//! The effective configuration as data, in the document's own keys.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::{
    Api, Audio, AudioSource, Camera, Config, Log, Mqtt, Output, Rate, Stream, Video, VideoSource, Word,
};
use crate::units::Bitrate;

impl Config {
    /// Every key with its value, the defaults too: a document that [`parse`](super::parse()) reads
    /// as this very configuration. A key that has no value is left out.
    pub fn to_table(&self) -> Table {
        let streams = self.streams.iter().map(|(name, stream)| (name.to_string(), stream.to_table().into()));
        let mut table = Table::new();
        put(&mut table, "api", api(&self.api));
        put(&mut table, "log", log(&self.log));
        if let Some(section) = &self.mqtt {
            put(&mut table, "mqtt", mqtt(section));
        }
        put(&mut table, "streams", streams.collect::<Table>());
        table
    }
}

impl Config {
    /// Changes with every setting, and with nothing else.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.to_table())
    }
}

impl Stream {
    /// Changes with every setting of this stream, and with nothing else.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.to_table())
    }

    /// The stream's own section, as in [`Config::to_table`].
    pub fn to_table(&self) -> Table {
        let mut table = Table::new();
        put(&mut table, "enabled", self.enabled);
        put(&mut table, "video", video(&self.video));
        put(&mut table, "audio", audio(&self.audio));
        put(&mut table, "rate", rate(&self.rate));
        put(&mut table, "outputs", self.outputs.iter().map(output).collect::<Vec<Table>>());
        table
    }
}

/// The same from one start of the daemon to the next; another version of uplinkd may give another.
fn fingerprint(table: &Table) -> u64 {
    let mut hasher = DefaultHasher::new();
    table.to_string().hash(&mut hasher);
    hasher.finish()
}

fn api(api: &Api) -> Table {
    let mut table = Table::new();
    match api.listen.as_slice() {
        [one] => put(&mut table, "listen", one.to_string()),
        several => put(&mut table, "listen", texts(several)),
    }
    if !api.hosts.is_empty() {
        put(&mut table, "hosts", texts(&api.hosts));
    }
    if let Some(file) = &api.token_file {
        put(&mut table, "token_file", file.to_string());
    }
    put_path(&mut table, "tls_certificate_file", api.tls.as_ref().map(|tls| &tls.certificate));
    put_path(&mut table, "tls_key_file", api.tls.as_ref().map(|tls| &tls.key));
    put(&mut table, "insecure", api.insecure);
    table
}

fn log(log: &Log) -> Table {
    let mut table = Table::new();
    put(&mut table, "level", log.level.as_str());
    table
}

fn mqtt(mqtt: &Mqtt) -> Table {
    let mut table = Table::new();
    put(&mut table, "url", mqtt.url.to_string());
    put(&mut table, "version", mqtt.version.as_str());
    put(&mut table, "topic_prefix", mqtt.topic_prefix.as_str());
    for (key, text) in [("id", &mqtt.id), ("client_id", &mqtt.client_id), ("username", &mqtt.username)] {
        if let Some(text) = text {
            put(&mut table, key, text.as_str());
        }
    }
    if let Some(file) = &mqtt.password_file {
        put(&mut table, "password_file", file.to_string());
    }
    put_path(&mut table, "tls_ca_file", mqtt.tls_ca_file.as_ref());
    put_path(&mut table, "tls_certificate_file", mqtt.tls.as_ref().map(|tls| &tls.certificate));
    put_path(&mut table, "tls_key_file", mqtt.tls.as_ref().map(|tls| &tls.key));
    put(&mut table, "insecure", mqtt.insecure);
    put(&mut table, "commands", mqtt.commands);
    put(&mut table, "interval_s", i64::try_from(mqtt.interval.as_secs()).unwrap_or(i64::MAX));
    table
}

fn video(video: &Video) -> Table {
    let mut table = source(&video.source);
    put(&mut table, "fallback", video.fallback.iter().map(source).collect::<Vec<Table>>());
    put(&mut table, "width", i64::from(video.width));
    put(&mut table, "height", i64::from(video.height));
    match video.framerate.denominator() {
        1 => put(&mut table, "framerate", i64::from(video.framerate.numerator())),
        _ => put(&mut table, "framerate", video.framerate.to_string()),
    }
    put(&mut table, "codec", video.codec.as_str());
    put(&mut table, "encoder", video.encoder.to_string());
    put(&mut table, "keyframe_interval_ms", milliseconds(video.keyframe_interval));
    put(&mut table, "slate", video.slate.to_string());
    table
}

fn source(source: &VideoSource) -> Table {
    let mut table = Table::new();
    match source {
        VideoSource::V4l2(Camera { device, edid_file, controls }) => {
            put(&mut table, "source", "v4l2");
            put(&mut table, "device", device.to_string());
            put_path(&mut table, "edid_file", edid_file.as_ref());
            if !controls.is_empty() {
                let controls = controls.iter().map(|(name, value)| (name.clone(), i64::from(*value).into()));
                put(&mut table, "controls", controls.collect::<Table>());
            }
        }
        VideoSource::Test => put(&mut table, "source", "test"),
        VideoSource::File { path } => {
            put(&mut table, "source", "file");
            put_path(&mut table, "path", Some(path));
        }
    }
    table
}

fn audio(audio: &Audio) -> Table {
    let mut table = Table::new();
    let source = match &audio.source {
        AudioSource::Alsa { device } => {
            put(&mut table, "device", device.to_string());
            "alsa"
        }
        AudioSource::Test => "test",
        AudioSource::File => "file",
        AudioSource::Silence => "silence",
        AudioSource::None => "none",
    };
    put(&mut table, "source", source);
    put(&mut table, "codec", audio.codec.as_str());
    put(&mut table, "bitrate_kbps", kbps(audio.bitrate));
    put(&mut table, "gain_db", audio.gain_db);
    put(&mut table, "mute", audio.mute);
    put(&mut table, "channels", audio.channels.as_str());
    put(&mut table, "offset_ms", i64::from(audio.offset_ms));
    table
}

fn rate(rate: &Rate) -> Table {
    let mut table = Table::new();
    put(&mut table, "min_kbps", kbps(rate.min));
    put(&mut table, "max_kbps", kbps(rate.max));
    put(&mut table, "start_kbps", kbps(rate.start));
    put(&mut table, "adaptive", rate.adaptive);
    put(&mut table, "ladder", rate.ladder.as_str());
    table
}

fn output(output: &Output) -> Table {
    let mut table = Table::new();
    put(&mut table, "name", output.name.as_str());
    put(&mut table, "url", output.url.to_string());
    put(&mut table, "lead", output.lead);
    put(&mut table, "latency_ms", milliseconds(output.latency));
    if let Some(stream_id) = &output.stream_id {
        put(&mut table, "stream_id", stream_id.as_str());
    }
    if let Some(passphrase_file) = &output.passphrase_file {
        put_path(&mut table, "passphrase_file", Some(passphrase_file));
        put(&mut table, "key_length", i64::from(output.key_length));
    }
    table
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn put(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

fn put_path(table: &mut Table, key: &str, path: Option<&PathBuf>) {
    if let Some(path) = path {
        put(table, key, path.to_string_lossy().into_owned());
    }
}

/// Whole, since the document knows no fractions of a kilobit.
fn kbps(rate: Bitrate) -> i64 {
    i64::try_from(rate.as_kbps()).unwrap_or(i64::MAX)
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
