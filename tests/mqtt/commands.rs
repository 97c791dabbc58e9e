//! Commands: carried out once, answered, and only where they are wanted.

use crate::broker::{Broker, IDLE, SOON, parsed, wait_until_connected};
use crate::calm::calmly;
use crate::harness::{Daemon, eventually, free_port, test_stream};

const ACTIONS: &str = "uplinkd/box/streams/main/actions";

#[test]
fn a_command_is_carried_out_and_answered_in_both_versions() {
    calmly(3, || {
        for version in ["5", "3.1.1"] {
            let broker = Broker::start();
            // Kept from before: it must not be carried out now.
            broker.publish(&format!("{ACTIONS}/stop"), "", &["-r", "-n"]);
            broker.publish(&format!("{ACTIONS}/stop"), "now", &["-r"]);
            let listener = broker.listen();
            let section = broker.section(&format!("version = {version:?}\ncommands = true"));
            let daemon = Daemon::start(&format!("{section}{}", test_stream(free_port(), 300, "")));
            wait_until_connected(&daemon);
            let refused = listener.wait("uplinkd/box/responses", |answer| parsed(answer)["status"] == 400);
            assert!(parsed(&refused)["detail"].as_str().expect("a detail").contains("retained"), "{refused}");
            assert_ne!(daemon.state(), "stopped", "a kept command is none");

            broker.publish(&format!("{ACTIONS}/stop"), "", &[]);
            eventually("it is stopped", SOON, || daemon.state() == "stopped");
            let answer = listener.wait("uplinkd/box/responses", |answer| parsed(answer)["status"] == 202);
            let answer = parsed(&answer);
            assert_eq!(answer["command"], "streams/main/actions/stop");
            assert_eq!(answer["stream"]["id"], "main");
            broker.publish(&format!("{ACTIONS}/explode"), "", &[]);
            let answer = listener.wait("uplinkd/box/responses", |answer| parsed(answer)["status"] == 404);
            assert!(answer.contains("there is no action"), "{answer}");
        }
    });
}

#[test]
fn a_patch_is_that_of_the_api_and_an_answer_goes_where_it_is_wanted() {
    calmly(3, || {
        let broker = Broker::start();
        let daemon = Daemon::start(&format!("{}{IDLE}", broker.section("commands = true")));
        wait_until_connected(&daemon);
        let patch = |body: &str| broker.request("uplinkd/box/streams/main/patch", body);
        let answer = patch(r#"{"rate": {"max_kbps": 4321}}"#);
        assert_eq!(answer["correlation"], "seven");
        assert_eq!(answer["type"], "application/json");
        assert_eq!(answer["answer"]["status"], 200);
        assert_eq!(answer["answer"]["stream"]["config"]["rate"]["max_kbps"], 4321);
        assert!(answer["answer"]["etag"].is_string());
        assert_eq!(daemon.status()["config"]["rate"]["max_kbps"], 4321);

        let answer = patch(r#"{"rate": {"max_kbps": -1}}"#);
        assert_eq!(answer["type"], "application/problem+json");
        assert_eq!(
            (&answer["answer"]["status"], &answer["answer"]["type"]),
            (&422.into(), &"about:blank".into())
        );
        assert_eq!(answer["answer"]["errors"][0]["field"], "streams.main.rate.max_kbps", "{answer}");
        assert_eq!(patch("{")["answer"]["status"], 400);
        let unknown = broker.request("uplinkd/box/streams/nobody/actions/stop", "");
        assert_eq!(unknown["answer"]["status"], 404);

        // What is larger than anybody means is left out, and the connection stays.
        broker.publish("uplinkd/box/streams/main/patch", &"x".repeat(100_000), &[]);
        assert_eq!(patch("{}")["answer"]["status"], 200);
        assert_eq!(daemon.log().matches("MQTT broker connected").count(), 1, "{}", daemon.log());

        // Without commands there are none.
        daemon.reload(&format!("{}{IDLE}", broker.section("")));
        eventually("it is connected anew", SOON, || {
            daemon.log().matches("MQTT broker connected").count() == 2
        });
        let listener = broker.listen();
        broker.publish("uplinkd/box/streams/main/patch", r#"{"rate": {"max_kbps": 1234}}"#, &[]);
        listener.wait("uplinkd/box/streams/main/status", |_| true);
        assert_eq!(daemon.status()["config"]["rate"]["max_kbps"], 4321);
        assert!(listener.heard().iter().all(|heard| heard.topic != "uplinkd/box/responses"));
    });
}
