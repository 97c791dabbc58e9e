//! What was probably meant.

use toml::de::DeValue;

use super::convert;

/// What to write instead of the key `unknown` of the section at `path`, which knows `known`.
pub(super) fn for_unknown_key(
    path: &str,
    unknown: &str,
    value: &DeValue<'_>,
    known: &[&'static str],
) -> String {
    let normal = unknown.to_lowercase().replace('-', "_");
    let alias = ALIASES.iter().find(|(alias, key)| *alias == normal && known.contains(key));
    if let Some((_, key)) = alias {
        return match *key {
            "passphrase_file" => {
                "write the passphrase alone into a file, and passphrase_file = \"/its/path\" here".into()
            }
            "password_file" => {
                "write the password alone into a file, and password_file = \"/its/path\" here".into()
            }
            key => did_you_mean(key, &normal, value),
        };
    }
    let same_quantity = known.iter().find(|key| convert::stem(key) == convert::stem(&normal));
    if let Some(key) = same_quantity.copied().or_else(|| closest(&normal, known.iter().copied())) {
        return did_you_mean(key, &normal, value);
    }
    if convert::stem(&normal) == "bitrate" && path.ends_with(".video") {
        return "write max_kbps in [streams.NAME.rate]".into();
    }
    let elsewhere: Vec<_> =
        SECTIONS.iter().filter(|(section, _)| !same_section(section, path) && *section != FALLBACK).collect();
    let exact = elsewhere.iter().filter(|(_, keys)| keys.contains(&normal.as_str()));
    let homes: Vec<_> = exact.map(|(section, _)| *section).collect();
    if !homes.is_empty() {
        return format!("move it to {}", homes.join(" or "));
    }
    let near =
        elsewhere.iter().find_map(|(section, keys)| Some((closest(&normal, keys.iter().copied())?, section)));
    if let Some((key, section)) = near {
        return format!("did you mean {key}, which belongs in {section}?");
    }
    match known.len() {
        0 => "remove it".into(),
        _ => format!("remove it; known here: {}", known.join(", ")),
    }
}

/// The candidate that `word` is most likely a slip of the pen for.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= SLIPS.min(candidate.len().max(3) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn did_you_mean(key: &str, unknown: &str, value: &DeValue<'_>) -> String {
    // A value is repeated only where it is a quantity, and so no secret.
    match (convert::unit(key), convert::same_in_unit(key, unknown, value)) {
        (Some(_), Some(number)) => format!("did you mean {key} = {number}?"),
        (Some(unit), None) => format!("did you mean {key}, in {}?", unit.name),
        (None, _) => format!("did you mean {key}?"),
    }
}

/// `path` with its names replaced is `section`.
fn same_section(section: &str, path: &str) -> bool {
    let parts: Vec<_> = path.split('.').collect();
    let generic = match parts.as_slice() {
        ["streams", _] => "[streams.NAME]".to_owned(),
        ["streams", _, part] if part.starts_with("outputs[") => "[[streams.NAME.outputs]]".to_owned(),
        ["streams", _, "video", part] if part.starts_with("fallback[") => FALLBACK.to_owned(),
        ["streams", _, part] => format!("[streams.NAME.{part}]"),
        _ => format!("[{path}]"),
    };
    generic == section
}

/// Edits. Beyond three, a word is another word.
const SLIPS: usize = 3;

/// What other programs, and other versions of the same thought, call a key.
const ALIASES: [(&str, &str); 45] = [
    ("address", "url"),
    ("base_topic", "topic_prefix"),
    ("bind", "listen"),
    ("bitrate", "max_kbps"),
    ("bitrate_kbps", "max_kbps"),
    ("broker", "url"),
    ("ca", "tls_ca_file"),
    ("ca_file", "tls_ca_file"),
    ("cafile", "tls_ca_file"),
    ("cert", "tls_certificate_file"),
    ("edid", "edid_file"),
    ("file", "path"),
    ("fps", "framerate"),
    ("frame_rate", "framerate"),
    ("gop", "keyframe_interval_ms"),
    ("gop_ms", "keyframe_interval_ms"),
    ("host", "url"),
    ("input", "source"),
    ("interface", "listen"),
    ("keyint", "keyframe_interval_ms"),
    ("leader", "lead"),
    ("logging", "log"),
    ("maximum_kbps", "max_kbps"),
    ("minimum_kbps", "min_kbps"),
    ("name", "id"),
    ("output", "outputs"),
    ("pass", "passphrase_file"),
    ("pass", "password_file"),
    ("passphrase", "passphrase_file"),
    ("password", "passphrase_file"),
    ("password", "password_file"),
    ("pbkeylen", "key_length"),
    ("prefix", "topic_prefix"),
    ("primary", "lead"),
    ("server", "url"),
    ("srt_url", "url"),
    ("sound", "audio"),
    ("streamid", "stream_id"),
    ("topic", "topic_prefix"),
    ("token", "token_file"),
    ("uri", "url"),
    ("user", "username"),
    ("verbosity", "level"),
    ("volume", "gain_db"),
    ("volume_db", "gain_db"),
];

/// Its keys are those of the section above it once more: nobody is sent here from elsewhere.
const FALLBACK: &str = "[[streams.NAME.video.fallback]]";

/// Every section with its keys, so that a key in the wrong one is shown the way.
const SECTIONS: [(&str, &[&str]); 9] = [
    ("[api]", &["listen", "hosts", "token_file", "tls_certificate_file", "tls_key_file", "insecure"]),
    ("[log]", &["level"]),
    (
        "[mqtt]",
        &[
            "url",
            "version",
            "topic_prefix",
            "id",
            "client_id",
            "username",
            "password_file",
            "tls_ca_file",
            "tls_certificate_file",
            "tls_key_file",
            "insecure",
            "commands",
            "interval_s",
        ],
    ),
    ("[streams.NAME]", &["enabled", "video", "audio", "rate", "outputs"]),
    (
        "[streams.NAME.video]",
        &[
            "source",
            "fallback",
            "device",
            "edid_file",
            "controls",
            "path",
            "width",
            "height",
            "framerate",
            "codec",
            "encoder",
            "keyframe_interval_ms",
            "slate",
        ],
    ),
    (FALLBACK, &["source", "device", "edid_file", "controls", "path"]),
    (
        "[streams.NAME.audio]",
        &["source", "device", "codec", "bitrate_kbps", "gain_db", "mute", "channels", "offset_ms"],
    ),
    ("[streams.NAME.rate]", &["min_kbps", "max_kbps", "start_kbps", "adaptive", "ladder"]),
    (
        "[[streams.NAME.outputs]]",
        &["name", "url", "lead", "latency_ms", "stream_id", "passphrase_file", "key_length"],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use toml::{Table, Value};

    use super::*;
    use crate::config::parse;

    const EVERY_KEY: &str = r#"
        [api]
        hosts = ["encoder.local"]
        token_file = "/token"
        tls_certificate_file = "/certificate"
        tls_key_file = "/key"
        [mqtt]
        url = "mqtts://192.0.2.1"
        id = "a"
        client_id = "a"
        username = "a"
        password_file = "/password"
        tls_ca_file = "/authority"
        tls_certificate_file = "/certificate"
        tls_key_file = "/key"
        [streams.a]
        video = { source = "file", path = "/file", fallback = [{ source = "v4l2", edid_file = "/edid", controls = { brightness = 1 } }, { source = "file", path = "/b" }] }
        audio = { source = "alsa" }
        [[streams.a.outputs]]
        name = "a"
        url = "srt://192.0.2.1:9000"
        stream_id = "a"
        passphrase_file = "/passphrase"
        [streams.b.video]
        edid_file = "/edid"
        controls = { brightness = 1 }
    "#;

    #[test]
    fn the_sections_have_these_keys_and_no_others() {
        let table = parse(EVERY_KEY).unwrap().to_table();
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        collect("", &table, &mut found);
        for (section, keys) in SECTIONS {
            let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(found.remove(section).unwrap(), keys, "{section}");
        }
        assert_eq!(
            found.into_keys().collect::<Vec<_>>(),
            ["[]", "[streams.a.video.fallback[0].controls]", "[streams.b.video.controls]", "[streams]"]
        );
    }

    fn collect(path: &str, table: &Table, found: &mut BTreeMap<String, BTreeSet<String>>) {
        let section =
            SECTIONS.iter().map(|(section, _)| *section).find(|section| same_section(section, path));
        let section = section.map_or(format!("[{path}]"), str::to_owned);
        found.entry(section).or_default().extend(table.keys().cloned());
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(table) => collect(&path, table, found),
                Value::Array(list) => {
                    let sections = list.iter().filter_map(Value::as_table);
                    sections.for_each(|section| collect(&format!("{path}[0]"), section, found));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn slips_are_near_and_other_words_are_far() {
        let words = ["framerate", "slate", "codec"];
        assert_eq!(closest("framreate", words), Some("framerate"));
        assert_eq!(closest("SLAET", words), Some("slate"));
        assert_eq!(closest("colour", words), None);
        assert_eq!(closest("", words), None);
    }
}
