//! What the daemon says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::Page;
use crate::api::client::{Answer, Client, ClientError};
use crate::causes::with_causes;
use crate::cli::block_on;
use crate::config::{self, OutputName, StreamName};

/// What came back for each question, and the configuration as it was answered, `null` where it was not.
pub struct Answers {
    pub pages: Vec<Page>,
    pub config: Value,
}

/// Asks for the state of everything, and for what each rate control saw and decided in the last ten minutes.
pub fn ask(api: &config::Api) -> Answers {
    let mut daemon =
        Daemon { client: Client::of(api).map_err(|error| with_causes(&error)), is_silent: false };
    let info = daemon.ask("/v1/info");
    let config = daemon.ask("/v1/config");
    let streams = daemon.ask("/v1/streams");
    let read = |answer: &Result<String, String>| {
        answer.as_ref().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    };
    let (settings, listed) = (read(&config), read(&streams));
    let mut pages = vec![
        Page::answered("info.json", info),
        Page::answered("config.json", config),
        Page::answered("streams.json", streams),
    ];
    for (stream, outputs) in outputs(&settings, &listed) {
        for output in outputs {
            let path = format!("/v1/streams/{stream}/rate?last_s=600&format=series&output={output}");
            pages.push(Page::answered(&format!("{RATE}{stream}-{output}.json"), daemon.ask(&path)));
        }
        // All that `uplinkd simulate --replay` wants, of the output that the encoder follows.
        let recording = daemon.ask(&format!("/v1/streams/{stream}/rate?format=recording"));
        if let Ok(recording) = recording
            && recording.lines().next().is_some_and(|line| serde_json::from_str::<Value>(line).is_ok())
        {
            pages.push(Page::new(&format!("{FLIGHT}{stream}.jsonl"), recording));
        }
    }
    Answers { pages, config: settings }
}

/// Of each stream, as the daemon has them: with what was changed through the API, whatever the file says now. Streams
/// that are off are in `config` alone, and where there is no configuration, as in a demo, all are in `streams`.
fn outputs(config: &Value, streams: &Value) -> BTreeMap<StreamName, BTreeSet<OutputName>> {
    let keys = config["settings"].as_array().into_iter().flatten().filter_map(|it| it["key"].as_str());
    let configured = keys.filter_map(|key| {
        let (stream, output) =
            key.strip_prefix("streams.")?.strip_suffix("].url")?.split_once(".outputs[")?;
        Some((stream, output))
    });
    let running = streams["items"].as_array().into_iter().flatten().flat_map(|status| {
        let names = status["outputs"].as_array().into_iter().flatten();
        names.filter_map(|output| Some((status["id"].as_str()?, output["name"].as_str()?)))
    });
    let mut outputs: BTreeMap<StreamName, BTreeSet<OutputName>> = BTreeMap::new();
    for (stream, output) in configured.chain(running) {
        // Another name is no stream's, and may be no name for a file.
        if let (Ok(stream), Ok(output)) = (StreamName::new(stream), OutputName::new(output)) {
            outputs.entry(stream).or_default().insert(output);
        }
    }
    outputs
}

/// Is asked nothing more once it was silent: each question would wait as long again.
struct Daemon {
    client: Result<Client, String>,
    is_silent: bool,
}

impl Daemon {
    /// The body of the daemon's answer; in words, why there is none.
    fn ask(&mut self, path: &str) -> Result<String, String> {
        if self.is_silent {
            return Err("the daemon was not asked: it was silent when it was asked before".to_owned());
        }
        let client = self.client.as_ref().map_err(String::clone)?;
        let asked = async { timeout(PATIENCE, client.ask("GET", path, None)).await };
        let answer = match block_on(asked).map_err(|failure| failure.message)? {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                self.is_silent = matches!(error, ClientError::Silent { .. });
                return Err(with_causes(&error));
            }
            Err(_) => {
                self.is_silent = true;
                return Err(format!("the daemon is silent: it has said nothing in {} s", PATIENCE.as_secs()));
            }
        };
        let Answer { status, body } = answer;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status == 200 { Ok(text) } else { Err(format!("the API answers {status}: {text}")) }
    }
}

impl Page {
    fn answered(name: &str, answer: Result<String, String>) -> Page {
        Page::new(name, answer.unwrap_or_else(|trouble| format!("no answer: {trouble}\n")))
    }
}

/// What the names of pages about the rate begin with.
pub const RATE: &str = "rate-";

/// What the names of flight recordings begin with.
pub const FLIGHT: &str = "flight-";

/// For one answer. What takes the longest is a recording's megabytes, some seconds on a small machine in trouble.
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outputs_are_those_that_are_configured_or_run() {
        let config = json!({"settings": [
            {"key": "streams.main.enabled"},
            {"key": "streams.main.outputs[studio].url"},
            {"key": "streams.main.outputs[studio].latency_ms"},
        ]});
        let streams = json!({"items": [
            {"id": "main", "outputs": [{"name": "studio"}, {"name": "b"}]},
            {"id": "../main", "outputs": [{"name": "c"}]},
        ]});
        let found: Vec<String> = outputs(&config, &streams)
            .iter()
            .flat_map(|(stream, outputs)| outputs.iter().map(move |output| format!("{stream}/{output}")))
            .collect();
        assert_eq!(found, ["main/b", "main/studio"]);
        assert!(outputs(&Value::Null, &Value::Null).is_empty());
    }
}
