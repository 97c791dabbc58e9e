//! What a decoder complains of in GStreamer's log. It hides damage from who looks at its pictures, as players want
//! it, and there is no other place where it tells.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::log::DebugLogFunction;

/// Hears the process's decoders while it lives. One at a time: the log does not tell which decoder speaks.
pub(super) struct Complaints {
    heard: Arc<Mutex<Heard>>,
    listening: Option<DebugLogFunction>,
    _alone: MutexGuard<'static, ()>,
}

#[derive(Default)]
struct Heard {
    count: u32,
    first: Option<String>,
}

impl Complaints {
    /// From here on. Comes when the decoder is made: before that its log does not exist.
    pub(super) fn listen() -> Complaints {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        for Damage { category, level, .. } in DAMAGE {
            let category = gst::log::DebugCategory::get(category);
            if let Some(category) = category.filter(|category| category.threshold() < level) {
                category.set_threshold(level);
            }
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let ear = heard.clone();
        let listening = gst::log::add_log_function(move |category, _, _, _, _, _, message| {
            let text = message.get().unwrap_or_default();
            if is_damage(category.name(), &text) {
                let mut heard = ear.lock().unwrap_or_else(PoisonError::into_inner);
                heard.count = heard.count.saturating_add(1);
                heard.first.get_or_insert_with(|| text.trim().to_owned());
            }
        });
        Complaints { heard, listening: Some(listening), _alone: alone }
    }

    /// In words, what was heard of damaged pictures.
    pub(super) fn heard(&self) -> Option<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let first = heard.first.as_ref()?;
        Some(match heard.count {
            0 | 1 => first.clone(),
            count => format!("{first}, the first of {count} complaints"),
        })
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            gst::log::remove_log_function(listening);
        }
    }
}

fn is_damage(category: &str, message: &str) -> bool {
    DAMAGE.iter().any(|damage| damage.category == category && message.contains(damage.words))
}

/// Words of a decoder that say that a picture is not what was encoded. Of others of its words, some are about what
/// no viewer sees, such as messages beside the picture (SEI): an encoder is not judged by those.
struct Damage {
    category: &'static str,
    level: gst::DebugLevel,
    words: &'static str,
}

const DAMAGE: [Damage; 3] = [
    // libavcodec/h264_slice.c: the data of a macroblock makes no sense.
    Damage { category: "libav", level: gst::DebugLevel::Error, words: "error while decoding MB" },
    // libavcodec/hevc_refs.c: a picture refers to one that has not come.
    Damage { category: "libav", level: gst::DebugLevel::Error, words: "Could not find ref with POC" },
    // OpenH264, codec/decoder/plus/src/welsDecoderExt.cpp: either of these.
    Damage {
        category: "openh264dec",
        level: gst::DebugLevel::Warning,
        words: "DecodeCurrentAccessUnit() failed",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_picture_counts() {
        assert!(is_damage("libav", "error while decoding MB 16 18, bytestream -5"));
        assert!(is_damage(
            "openh264dec",
            "[OpenH264] this = 0x0x1, Warning:DecodeCurrentAccessUnit() failed (459805) in frame: 0"
        ));
        assert!(!is_damage("libav", "SEI type 5 size 704 truncated at 12"));
        assert!(!is_damage("x264enc", "error while decoding MB 16 18"));
    }

    #[test]
    fn what_was_heard_is_told_with_its_number() {
        gst::init().unwrap();
        let category = gst::log::DebugCategory::get("libav")
            .unwrap_or_else(|| gst::log::DebugCategory::new("libav", gst::DebugColorFlags::empty(), None));
        let complaints = Complaints::listen();
        assert_eq!(complaints.heard(), None);
        gst::error!(category, "error while decoding MB 16 18");
        assert_eq!(complaints.heard().unwrap(), "error while decoding MB 16 18");
        gst::error!(category, "error while decoding MB 17 18");
        gst::error!(category, "SEI type 5 size 704 truncated at 12");
        assert_eq!(complaints.heard().unwrap(), "error while decoding MB 16 18, the first of 2 complaints");
        drop(complaints);
        assert_eq!(Complaints::listen().heard(), None, "of another time");
    }
}
