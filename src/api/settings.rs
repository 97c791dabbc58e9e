//! A stream's section of the configuration as JSON, for those who read the API's description. What counts is
//! [`crate::config`], where every value is checked; a test compares the two.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

/// A stream's configuration, as in `[streams.NAME]` of the file; what is left out or `null` has its default.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description: nobody makes one")]
pub struct StreamSettings {
    /// Whether it runs; it then needs an output.
    enabled: Option<bool>,
    video: Option<VideoSettings>,
    audio: Option<AudioSettings>,
    rate: Option<RateSettings>,
    /// Told apart by their names; in a merge patch, the whole list is replaced.
    outputs: Option<Vec<OutputSettings>>,
}

/// `[streams.NAME.video]`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description: nobody makes one")]
struct VideoSettings {
    /// `v4l2`, `test` or `file`.
    source: Option<String>,
    /// Of `v4l2`: `auto`, `by-id:…`, `by-path:…` or `/dev/video0`.
    device: Option<String>,
    /// Of `v4l2`: a whole path.
    edid_file: Option<String>,
    /// Of `v4l2`: values by the names of the camera's controls.
    controls: Option<BTreeMap<String, i32>>,
    /// Of `file`: a whole path.
    path: Option<String>,
    /// What takes the source's place while it gives nothing.
    fallback: Option<Vec<FallbackSettings>>,
    /// Pixels, even.
    #[schema(minimum = 16, maximum = 7680)]
    width: Option<u32>,
    /// Pixels, even.
    #[schema(minimum = 16, maximum = 4320)]
    height: Option<u32>,
    /// Frames per second: `30`, `29.97` or `"30000/1001"`.
    framerate: Option<serde_json::Value>,
    /// `h264` or `h265`.
    codec: Option<String>,
    /// `auto`, `vaapi`, `v4l2m2m`, `nvenc`, `qsv`, `software`, or an element's name.
    encoder: Option<String>,
    #[schema(minimum = 100, maximum = 20_000)]
    keyframe_interval_ms: Option<u32>,
    /// `text`, `hold`, or the whole path of a picture.
    slate: Option<String>,
}

/// `[[streams.NAME.video.fallback]]`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description: nobody makes one")]
struct FallbackSettings {
    source: Option<String>,
    device: Option<String>,
    edid_file: Option<String>,
    controls: Option<BTreeMap<String, i32>>,
    path: Option<String>,
}

/// `[streams.NAME.audio]`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description: nobody makes one")]
struct AudioSettings {
    /// `alsa`, `test`, `file`, `silence` or `none`.
    source: Option<String>,
    /// Of `alsa`: `auto`, or a name such as `hw:CARD=Device`.
    device: Option<String>,
    /// `aac` or `opus`.
    codec: Option<String>,
    #[schema(minimum = 16, maximum = 512)]
    bitrate_kbps: Option<u32>,
    #[schema(minimum = -60, maximum = 30)]
    gain_db: Option<f64>,
    mute: Option<bool>,
    /// `stereo`, `mono`, `left` or `right`.
    channels: Option<String>,
    /// Above 0 the sound comes later.
    #[schema(minimum = -2000, maximum = 2000)]
    offset_ms: Option<i32>,
}

/// `[streams.NAME.rate]`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description: nobody makes one")]
struct RateSettings {
    #[schema(minimum = 50, maximum = 200_000)]
    min_kbps: Option<u32>,
    #[schema(minimum = 50, maximum = 200_000)]
    max_kbps: Option<u32>,
    /// From `min_kbps` to `max_kbps`.
    #[schema(minimum = 50, maximum = 200_000)]
    start_kbps: Option<u32>,
    adaptive: Option<bool>,
    /// `off`, `framerate` or `framerate-and-size`.
    ladder: Option<String>,
}

/// `[[streams.NAME.outputs]]`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a description: nobody makes one")]
struct OutputSettings {
    /// 1 to 32 of a-z, 0-9, - and _, a letter or digit first.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,31}$")]
    name: String,
    /// `srt://HOST:PORT`, with `?mode=` where it is not `caller`.
    url: String,
    /// The rate follows this output; the first where none says so.
    lead: Option<bool>,
    #[schema(minimum = 20, maximum = 30_000)]
    latency_ms: Option<u32>,
    /// At most 512 bytes; shown as `***`.
    stream_id: Option<String>,
    /// A whole path.
    passphrase_file: Option<String>,
    /// 16, 24 or 32.
    key_length: Option<u32>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::config;
    use crate::config::json::to_json;

    const GOOD: [&str; 3] = [
        include_str!("../../tests/golden/config/good/example.toml"),
        include_str!("../../tests/golden/config/good/file-and-two-outputs.toml"),
        include_str!("../../tests/golden/config/good/everything-else.toml"),
    ];

    /// Every setting is described, and nothing else is.
    #[test]
    fn the_description_is_that_of_the_configuration() {
        let mut seen = BTreeSet::new();
        for text in GOOD {
            for stream in config::parse(text).unwrap().streams.values() {
                let json = to_json(&stream.to_table());
                collect("", &json, &mut seen);
                serde_json::from_value::<StreamSettings>(json).unwrap();
            }
        }
        let document: Value = serde_json::from_str(crate::api::description()).unwrap();
        let schemas = &document["components"]["schemas"];
        let mut described = BTreeSet::new();
        for (section, schema) in [
            ("", "StreamSettings"),
            ("video.", "VideoSettings"),
            ("audio.", "AudioSettings"),
            ("rate.", "RateSettings"),
            ("outputs.", "OutputSettings"),
        ] {
            let properties = schemas[schema]["properties"].as_object().unwrap_or_else(|| panic!("{schema}"));
            described.extend(properties.keys().map(|key| format!("{section}{key}")));
        }
        assert_eq!(seen.difference(&described).collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(described.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    fn collect(section: &str, json: &Value, seen: &mut BTreeSet<String>) {
        for (key, value) in json.as_object().unwrap() {
            seen.insert(format!("{section}{key}"));
            let below = format!("{section}{key}.");
            match value {
                Value::Object(_) if key != "controls" => collect(&below, value, seen),
                Value::Array(outputs) if key == "outputs" => {
                    outputs.iter().for_each(|output| collect(&below, output, seen));
                }
                _ => {}
            }
        }
    }
}
