//! What a change of the configuration would do, in words, before it is made.

use super::diff::{self, Change, Effect, StreamChange};
use super::{AudioSource, Config, OutputName, Stream, StreamName};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Every setting that differs.
    pub changes: Vec<Change>,
    /// What each of them leads to; empty where nothing differs.
    pub consequences: Vec<Consequence>,
}

/// One thing that would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// `None`: to the daemon as a whole.
    pub stream: Option<StreamName>,
    /// `None`: to all of the stream.
    pub output: Option<OutputName>,
    pub reach: Reach,
    /// In words.
    pub what: String,
}

/// How much of what runs is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It takes effect on air.
    Live,
    /// SRT connections are made anew; picture and sound go on.
    Reconnects,
    /// Picture, sound and encoder are made anew; SRT connections stay.
    Restarts,
    Starts,
    Stops,
    /// It waits for the daemon's next start.
    NextStart,
}

impl Reach {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reach::Live => "live",
            Reach::Reconnects => "reconnects",
            Reach::Restarts => "restarts",
            Reach::Starts => "starts",
            Reach::Stops => "stops",
            Reach::NextStart => "next_start",
        }
    }
}

impl Plan {
    /// Of going from one configuration to the other.
    pub fn new(old: &Config, new: &Config) -> Plan {
        let changes = diff::changes(old, new);
        let mut consequences = Vec::new();
        let mut say = |stream: Option<&StreamName>, consequence: (Option<OutputName>, Reach, String)| {
            let (output, reach, what) = consequence;
            consequences.push(Consequence { stream: stream.cloned(), output, reach, what });
        };
        if changes.api {
            say(
                None,
                (None, Reach::NextStart, "the API is served as before until the daemon is restarted".into()),
            );
        }
        if changes.log_level {
            say(None, (None, Reach::Live, "what is logged changes at once".into()));
        }
        if changes.mqtt {
            let what = match new.mqtt {
                Some(_) => "the connection to the MQTT broker is made anew; streams go on",
                None => "the MQTT broker is told goodbye; streams go on",
            };
            say(None, (None, Reach::Live, what.into()));
        }
        for (name, change) in &changes.streams {
            let all = match (change, old.streams.get(name), new.streams.get(name)) {
                (StreamChange::Modified { effects, .. }, Some(old), Some(new)) => {
                    modified(old, new, effects.iter())
                }
                (StreamChange::Added, _, Some(new)) if new.enabled => {
                    vec![(None, Reach::Starts, "the stream is added, and starts".into())]
                }
                (StreamChange::Added, ..) => {
                    vec![(
                        None,
                        Reach::Live,
                        "the stream is added; it is not enabled, and does not start".into(),
                    )]
                }
                (StreamChange::Removed | StreamChange::Modified { .. }, ..) => {
                    vec![(None, Reach::Stops, "the stream sends what it has, and is removed".into())]
                }
            };
            all.into_iter().for_each(|consequence| say(Some(name), consequence));
        }
        Plan { changes: changes.list, consequences }
    }

    /// Nothing would happen.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

fn modified<'a>(
    old: &Stream,
    new: &Stream,
    effects: impl Iterator<Item = &'a Effect>,
) -> Vec<(Option<OutputName>, Reach, String)> {
    let mut all = Vec::new();
    for consequence in effects.map(|effect| effected(old, new, effect)) {
        if !all.contains(&consequence) {
            all.push(consequence); // a restart is said once, whatever asks for it
        }
    }
    if let Some(reason) = reconnection(old, new) {
        all.push((None, Reach::Reconnects, format!("every output connects anew: {reason}")));
    }
    all
}

fn effected(old: &Stream, new: &Stream, effect: &Effect) -> (Option<OutputName>, Reach, String) {
    let live = |what: &str| (None, Reach::Live, what.to_owned());
    match effect {
        Effect::Enabled if new.enabled => (None, Reach::Starts, "the stream starts".into()),
        Effect::Enabled => (None, Reach::Stops, "the stream sends what it has, and stops".into()),
        Effect::RateBounds => live("the rate keeps to the new bounds at once"),
        Effect::Lead => live("the rate may follow another output; none connects anew"),
        Effect::Controls => live("the camera is told its new controls"),
        Effect::Sound => live("the sound changes on air, without a gap"),
        Effect::Fallback => live("sources are chosen among anew; encoder and connections go on"),
        Effect::Slate => live("the slate is another as soon as it is made, on air or not"),
        Effect::RestartStream => {
            let what = "picture, sound and encoder start anew: a gap of about a second; connections stay";
            (None, Reach::Restarts, what.into())
        }
        Effect::Output(name) => {
            let has = |stream: &Stream| stream.outputs.iter().any(|output| output.name == *name);
            let (reach, what) = match (has(old), has(new)) {
                (false, _) => (Reach::Starts, format!("output {name} connects; the others go on")),
                (true, false) => (Reach::Stops, format!("output {name} is disconnected; the others go on")),
                (true, true) => (Reach::Reconnects, format!("output {name} connects anew; the others go on")),
            };
            (Some(name.clone()), reach, what)
        }
    }
}

/// Why a stream's connections cannot be kept: muxes are made for their tracks. `None` where they are.
pub fn reconnection(old: &Stream, new: &Stream) -> Option<&'static str> {
    let sound = |stream: &Stream| (stream.audio.source != AudioSource::None).then_some(stream.audio.codec);
    let lead = |stream: &Stream| stream.audio.offset_ms.min(0);
    if old.video.codec != new.video.codec {
        Some("the picture's codec is another")
    } else if sound(old) != sound(new) {
        Some("there is another sound track")
    } else if lead(old) != lead(new) {
        Some("the sound's place before the picture is another")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const OLD: &str = r#"
        [streams.main]
        enabled = true
        [[streams.main.outputs]]
        name = "studio"
        url = "srt://ingest.example.net:9000"
        [[streams.main.outputs]]
        name = "spare"
        url = "srt://ingest.example.net:9001"
    "#;

    fn plan(old: &str, new: &str) -> Vec<(String, String)> {
        let plan = Plan::new(&parse(old).unwrap(), &parse(new).unwrap());
        let words = |it: &Consequence| (it.reach.as_str().to_owned(), it.what.clone());
        plan.consequences.iter().map(words).collect()
    }

    fn reaches(from: &str, to: &str) -> Vec<String> {
        assert!(OLD.contains(from));
        plan(OLD, &OLD.replacen(from, to, 1)).into_iter().map(|(reach, _)| reach).collect()
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let plan = Plan::new(&parse(OLD).unwrap(), &parse(OLD).unwrap());
        assert!(plan.is_empty() && plan.consequences.is_empty());
    }

    #[test]
    fn each_change_says_what_it_touches() {
        let within = |section: &str| reaches("enabled = true", &format!("enabled = true\n{section}"));
        assert_eq!(within("rate = { max_kbps = 4000 }"), ["live"]);
        assert_eq!(within("rate = { max_kbps = 9000 }"), ["live"]);
        assert_eq!(within("video = { slate = 'hold' }"), ["live"]);
        assert_eq!(within("video = { width = 640 }"), ["restarts"]);
        assert_eq!(
            within("video = { width = 640, codec = 'h264', framerate = 25 }"),
            ["restarts"],
            "said once"
        );
        assert_eq!(within("video = { codec = 'h265' }"), ["restarts", "reconnects"]);
        assert_eq!(within("audio = { source = 'test' }"), ["restarts", "reconnects"]);
        assert_eq!(within("audio = { mute = true }"), ["live"]);
        assert_eq!(reaches("enabled = true", "enabled = false"), ["stops"]);
        assert_eq!(reaches(":9001\"", ":9001\"\nlatency_ms = 500"), ["reconnects"]);
        assert_eq!(reaches("spare", "reserve"), ["starts", "stops"]);
        assert_eq!(reaches(":9001\"", ":9001\"\nlead = true"), ["live"]);
    }

    #[test]
    fn streams_and_the_daemon_have_theirs() {
        let both = format!("{OLD}\n[streams.second]");
        assert_eq!(plan(OLD, &both)[0].1, "the stream is added; it is not enabled, and does not start");
        assert_eq!(plan(&both, OLD)[0].0, "stops");
        assert_eq!(plan("", OLD)[0].0, "starts");
        assert_eq!(plan("", "log.level = 'debug'")[0].0, "live");
        assert_eq!(plan("", "api.listen = '127.0.0.1:80'")[0].0, "next_start");
        assert_eq!(plan("", "mqtt.url = 'mqtt://localhost'")[0].0, "live");
    }
}
