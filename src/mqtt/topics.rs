//! Where in the broker's tree a machine's telemetry stands, and where its commands come from.
//!
//! ```text
//! PREFIX/ID/availability            online, offline          kept
//!          /info                    as GET /v1/info          kept
//!          /streams/STREAM/status   as GET /v1/streams/…     kept
//!          /events                  as GET /v1/events
//!          /streams/STREAM/actions/{start,stop,restart,keyframe}   commands
//!          /streams/STREAM/patch                                   commands, as PATCH /v1/streams/…
//!          /responses               what came of them
//! ```

use crate::config::StreamName;

/// The topics of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Without a `/` at its end.
    base: String,
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it was written: whether there is such a stream is for others to say.
    pub stream: String,
    pub what: What,
}

/// What is to be done with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// As it was written.
    Action(String),
    Patch,
}

impl Topics {
    /// `id` becomes one level, whatever a host is called.
    pub fn new(prefix: &str, id: &str) -> Topics {
        Topics { base: format!("{prefix}/{}", id.replace(['/', '+', '#'], "-")) }
    }

    /// What all of them begin with.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn availability(&self) -> String {
        format!("{}/availability", self.base)
    }

    pub fn info(&self) -> String {
        format!("{}/info", self.base)
    }

    pub fn status(&self, stream: &StreamName) -> String {
        format!("{}/streams/{stream}/status", self.base)
    }

    pub fn events(&self) -> String {
        format!("{}/events", self.base)
    }

    pub fn responses(&self) -> String {
        format!("{}/responses", self.base)
    }

    /// All statuses of this machine, whatever its streams are called.
    pub fn statuses(&self) -> String {
        format!("{}/streams/+/status", self.base)
    }

    /// All commands to it.
    pub fn commands(&self) -> [String; 2] {
        [format!("{}/streams/+/actions/+", self.base), format!("{}/streams/+/patch", self.base)]
    }

    /// The stream whose status stands there.
    pub fn stream_of_status(&self, topic: &str) -> Option<StreamName> {
        match self.below(topic)?.as_slice() {
            ["streams", stream, "status"] => StreamName::new(stream).ok(),
            _ => None,
        }
    }

    /// What a message to that topic asks for; `None` where it is no command.
    pub fn asked(&self, topic: &str) -> Option<Asked> {
        let (stream, what) = match self.below(topic)?.as_slice() {
            ["streams", stream, "actions", action] => (*stream, What::Action((*action).to_owned())),
            ["streams", stream, "patch"] => (*stream, What::Patch),
            _ => return None,
        };
        Some(Asked { stream: stream.to_owned(), what })
    }

    /// Where an answer goes: where it is wanted, but never where it would be somebody's command.
    pub fn response(&self, wanted: Option<&str>) -> String {
        let may_be = |topic: &&str| {
            let levels: Vec<_> = topic.rsplit('/').collect();
            let is_command =
                matches!(levels.as_slice(), [_, "actions", _, "streams", ..] | ["patch", _, "streams", ..]);
            !topic.is_empty() && !topic.contains(['+', '#', '\0']) && !is_command
        };
        wanted.filter(may_be).map_or_else(|| self.responses(), str::to_owned)
    }

    fn below<'a>(&self, topic: &'a str) -> Option<Vec<&'a str>> {
        Some(topic.strip_prefix(&self.base)?.strip_prefix('/')?.split('/').collect())
    }
}

impl std::fmt::Display for Asked {
    /// The end of its topic: `streams/main/actions/stop`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.what {
            What::Action(action) => write!(f, "streams/{}/actions/{action}", self.stream),
            What::Patch => write!(f, "streams/{}/patch", self.stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_level_of_its_own() {
        let topics = Topics::new("site/studio", "van+1/a");
        assert_eq!(topics.availability(), "site/studio/van-1-a/availability");
        assert_eq!(topics.commands()[0], "site/studio/van-1-a/streams/+/actions/+");
    }

    #[test]
    fn commands_are_read_and_nothing_else() {
        let topics = Topics::new("uplinkd", "a");
        let asked = topics.asked("uplinkd/a/streams/main/actions/stop").unwrap();
        assert_eq!(asked, Asked { stream: "main".into(), what: What::Action("stop".into()) });
        assert_eq!(asked.to_string(), "streams/main/actions/stop");
        assert_eq!(topics.asked("uplinkd/a/streams/main/patch").unwrap().what, What::Patch);
        for other in [
            "uplinkd/a/streams/main/status",
            "uplinkd/b/streams/main/actions/stop",
            "uplinkd/ab/streams/main/patch",
            "uplinkd/a/streams/main/actions/stop/now",
            "uplinkd/a",
        ] {
            assert_eq!(topics.asked(other), None, "{other}");
        }
    }

    #[test]
    fn an_answer_goes_where_it_is_wanted_but_never_commands() {
        let topics = Topics::new("uplinkd", "a");
        assert_eq!(topics.response(Some("operator/7")), "operator/7");
        for wrong in [
            None,
            Some(""),
            Some("operator/+"),
            Some("uplinkd/b/streams/main/actions/stop"),
            Some("site/uplinkd/b/streams/main/patch"),
        ] {
            assert_eq!(topics.response(wrong), "uplinkd/a/responses", "{wrong:?}");
        }
    }

    #[test]
    fn a_status_is_found_again() {
        let topics = Topics::new("uplinkd", "a");
        let main = StreamName::new("main").unwrap();
        assert_eq!(topics.stream_of_status(&topics.status(&main)), Some(main));
        assert_eq!(topics.stream_of_status("uplinkd/a/streams/no name/status"), None);
        assert_eq!(topics.stream_of_status("uplinkd/a/info"), None);
    }
}
