//! What is kept, what is told, and who says that the machine is gone.

use std::time::Duration;

use crate::broker::{Broker, IDLE, SOON, parsed, shown, wait_until_connected};
use crate::calm::calmly;
use crate::harness::{Daemon, eventually};

#[test]
fn a_machine_is_seen_in_both_versions_and_its_last_will_is_told() {
    calmly(3, || {
        for version in ["5", "3.1.1"] {
            let broker = Broker::start();
            let listener = broker.listen();
            let mut daemon =
                Daemon::start(&format!("{}{IDLE}", broker.section(&format!("version = {version:?}"))));
            wait_until_connected(&daemon);
            assert_eq!(shown(&daemon)["version"], version);
            assert_eq!(shown(&daemon)["topic"], "uplinkd/box");
            listener.wait("uplinkd/box/streams/main/status", |_| true);

            assert_eq!(broker.kept_at("uplinkd/box/availability").as_deref(), Some("online"));
            let info = parsed(&broker.kept_at("uplinkd/box/info").expect("info is kept"));
            assert_eq!((&info["name"], &info["mqtt"]["connected"]), (&"uplinkd".into(), &true.into()));
            let mut told =
                parsed(&broker.kept_at("uplinkd/box/streams/main/status").expect("a status is kept"));
            let mut asked = daemon.status();
            for volatile in ["age_ms", "since"] {
                told[volatile].take();
                asked[volatile].take();
            }
            assert_eq!(told, asked, "it is what the API gives");

            let events: Vec<_> = listener.heard();
            let events = events.iter().filter(|heard| heard.topic == "uplinkd/box/events");
            let events: Vec<_> = events.map(|heard| parsed(&heard.payload)["event"].clone()).collect();
            assert!(events.contains(&"mqtt_connected".into()), "{events:?}");
            assert!(
                broker.kept().iter().all(|heard| heard.topic != "uplinkd/box/events"),
                "events are not kept"
            );

            daemon.kill();
            eventually("the last will is told", SOON, || {
                broker.kept_at("uplinkd/box/availability").as_deref() == Some("offline")
            });
        }
    });
}

#[test]
fn a_state_is_told_at_once_and_a_machine_that_ends_says_so_itself() {
    calmly(3, || {
        let broker = Broker::start();
        let listener = broker.listen();
        let section = broker.section("").replace("interval_s = 1", "interval_s = 3600");
        let mut daemon = Daemon::start(&format!("{section}{IDLE}"));
        let status = "uplinkd/box/streams/main/status";
        listener.wait(status, |status| parsed(status)["state"] == "stopped");
        let output = "[[streams.main.outputs]]\nname = \"studio\"\nurl = \"srt://127.0.0.1:9\"\n";
        daemon.reload(&format!("{section}{IDLE}{output}"));
        listener.wait(status, |status| parsed(status)["config"]["outputs"][0]["name"] == "studio");
        assert_eq!(daemon.act("start"), 202);
        listener.wait(status, |status| parsed(status)["state"] != "stopped");
        daemon.signal("TERM");
        assert!(daemon.wait(SOON).success(), "{}", daemon.log());
        listener.wait("uplinkd/box/events", |event| parsed(event)["event"] == "draining");
        listener.wait("uplinkd/box/availability", |word| word == "offline");
        let heard = listener.heard();
        let last = heard.iter().rfind(|heard| heard.topic == status).expect("a status");
        assert_eq!(parsed(&last.payload)["state"], "stopped", "how it ended is told before");
        assert!(broker.log().contains("Received DISCONNECT from uplinkd-box"), "{}", broker.log());
    });
}

#[test]
fn what_is_gone_is_not_kept_and_other_topics_are_taken_live() {
    calmly(3, || {
        let broker = Broker::start();
        let former = "uplinkd/box/streams/former/status";
        broker.publish(former, "{}", &["-r"]);
        let second = "[streams.second]\n";
        let daemon = Daemon::start(&format!("{}{IDLE}{second}", broker.section("")));
        let status = "uplinkd/box/streams/second/status";
        eventually("both are told", SOON, || broker.kept_at(status).is_some());
        eventually("one of an earlier day is taken away", SOON, || broker.kept_at(former).is_none());

        daemon.reload(&format!("{}{IDLE}", broker.section("")));
        eventually("it is taken away", SOON, || broker.kept_at(status).is_none());
        assert!(broker.kept_at("uplinkd/box/streams/main/status").is_some());

        daemon.reload(&format!("{}{IDLE}", broker.section("topic_prefix = \"site/studio\"")));
        eventually("it is there under its new name", SOON, || {
            broker.kept_at("site/studio/box/availability").as_deref() == Some("online")
        });
        assert_eq!(broker.kept_at("uplinkd/box/availability").as_deref(), Some("offline"));

        daemon.reload(IDLE);
        eventually("it is gone", SOON, || {
            broker.kept_at("site/studio/box/availability").as_deref() == Some("offline")
        });
        eventually("nothing is shown of a broker", Duration::from_secs(5), || shown(&daemon).is_null());
    });
}
