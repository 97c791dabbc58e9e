//! Quirks as text.

use std::time::Duration;

use crate::fake_encoders::quirks::parse;
use crate::fake_encoders::{ForceKey, Quirks, Stage, When};

#[test]
fn elements_and_their_knobs() {
    let told =
        parse("vah264enc:stall_after=120; v4l2h264enc: ignore_bitrate, excess=1.3 ;vapostproc").unwrap();
    let stalls = Quirks { stalls: Some(When::After(120)), ..Quirks::NONE };
    let ignores = Quirks { ignores_bitrate: Some(When::ALWAYS), excess: 1.3, ..Quirks::NONE };
    assert_eq!(
        told,
        [
            ("vah264enc".to_owned(), stalls),
            ("v4l2h264enc".to_owned(), ignores),
            ("vapostproc".to_owned(), Quirks::NONE)
        ]
    );
}

#[test]
fn each_knob() {
    let at = |seconds| Some(When::At(Duration::from_secs(seconds)));
    let all = "x:idr,follows_after=1s,excess=0.5,excess_at=2s,slow=40ms,slow_after=7,ignore_bitrate_at=3s,\
               stall_at=4s,block_at=5s,error_at=6s,corrupt_after=8,lose_at=9s,hang=stop,crash=ready,\
               force_key=obeyed";
    let expected = Quirks {
        key_frame_each_change: true,
        follows_after: Duration::from_secs(1),
        excess: 0.5,
        excess_from: When::At(Duration::from_secs(2)),
        ignores_bitrate: at(3),
        force_key: ForceKey::Obeyed,
        hangs_at: Some(Stage::Stop),
        crashes_at: Some(Stage::Ready),
        takes: Duration::from_millis(40),
        takes_from: When::After(7),
        stalls: at(4),
        blocks: at(5),
        fails: at(6),
        corrupts: Some(When::After(8)),
        loses: at(9),
    };
    assert_eq!(parse(all).unwrap(), [("x".to_owned(), expected)]);
}

#[test]
fn nothing_is_nothing_and_a_wrong_knob_is_told() {
    for text in ["", "none", " ; "] {
        assert_eq!(parse(text).unwrap(), [], "{text:?}");
    }
    for text in
        ["x:stal", "x:stall_after=soon", "x:stall_at=5", "x:hang=lunch", "x:excess=much", "x:idr_at=1s"]
    {
        assert!(parse(text).unwrap_err().starts_with(text), "{text}");
    }
}
