//! Ids of messages that somebody may have to act upon: `journalctl -x` explains these, by `systemd/uplinkd.catalog`.

/// The id of an event in this state, where it has one; 32 hexadecimal digits.
pub fn id(event: &str, state: Option<&str>) -> Option<&'static str> {
    let is_it =
        |(kind, of, _): &&(&str, Option<&str>, &str)| *kind == event && (of.is_none() || *of == state);
    MESSAGES.iter().find(is_it).map(|(_, _, id)| *id)
}

/// Every id.
pub fn ids() -> impl Iterator<Item = &'static str> {
    MESSAGES.iter().map(|(_, _, id)| *id)
}

/// Events, of some only these states. An id never changes its meaning: a message of another one gets another id.
const MESSAGES: &[(&str, Option<&str>, &str)] = &[
    ("ready", None, "31d59f048ec94f0dbe443a7fff01b008"),
    ("stream_state", Some("failed"), "829a4bbb311e454cb693813eea541b4c"),
    ("stream_state", Some("degraded"), "8357732937644e8088d9a14411e55883"),
    ("stream_state", Some("backing_off"), "28cbf67cca6a4dd190254c05c7c1560a"),
    ("slate_on_air", None, "c0cd2b6a7f284fb2b097c3782af3ab40"),
    ("output_state", Some("backing_off"), "61be7d428b914c9381ed2a8e96745671"),
    ("encoder_replaced", None, "c54c4abf66354664a4d347780261fb49"),
    ("picture_lowered", None, "cf4a915bfed24e14a901da9480cf22f0"),
    ("configuration_refused", None, "747d43b75fcf4eb2882118085673c975"),
    ("configuration_wrong", None, "f14680687d7f4047ba69fc80de52f36e"),
    ("nothing_kept", None, "b88f39344d2d403493c80fc7570fa97f"),
    ("under_voltage", None, "2d9456f2179c41f192d71ab2e194ac57"),
    ("throttled", None, "c553678408aa41cf8076ae531812920c"),
    ("another_daemon", None, "f17639f90def4fc8aa2cf589ca212480"),
    ("stream_hangs", None, "8d5379f90433459a96e1a7ac9dc6dc08"),
    ("part_failed", None, "36e251b1ae904484aa6c3ca5817acec5"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_states_has_an_id_for_those_that_matter() {
        assert!(id("stream_state", Some("failed")).is_some());
        assert_ne!(id("stream_state", Some("failed")), id("stream_state", Some("degraded")));
        assert_eq!((id("stream_state", Some("streaming")), id("stream_state", None)), (None, None));
        assert_eq!(id("slate_on_air", None), id("slate_on_air", Some("whatever")));
        assert_eq!(id("rate", None), None);
    }

    #[test]
    fn ids_are_as_systemd_wants_them_and_no_two_are_the_same() {
        let mut all: Vec<&str> = ids().collect();
        assert!(all.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), MESSAGES.len());
    }
}
