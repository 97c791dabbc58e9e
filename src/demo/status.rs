//! One line a second: how the demonstration goes.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::units::Bitrate;

/// What the line shows, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the first encoded picture.
    pub elapsed: Duration,
    /// The stream's state, in the API's words.
    pub state: String,
    /// What the encoder is told, what it makes, what goes out, what the receiver confirms, and what
    /// comes out behind the receiver: the five rates, each measured where it is.
    pub target: Bitrate,
    pub encoded: Bitrate,
    pub sent: Bitrate,
    pub acknowledged: Bitrate,
    pub delivered: Bitrate,
    pub rtt: Option<Duration>,
    /// From capture to delivery.
    pub delay: Option<Duration>,
    /// Packets that the sender gave up as too late, and gaps that the receiver therefore delivered.
    pub late_packets: u64,
    pub late_gaps: u64,
    /// Continuity errors that lateness does not explain.
    pub continuity_errors: u64,
    pub video_frames: u64,
    pub picture: bool,
    pub sound: bool,
}

/// The line, without an end.
pub fn line(now: &Snapshot) -> String {
    let seconds = now.elapsed.as_secs();
    let mut line = format!("{:02}:{:02} {:<10}", seconds / 60, seconds % 60, now.state);
    let rates = [
        ("target", now.target),
        ("encoded", now.encoded),
        ("sent", now.sent),
        ("acked", now.acknowledged),
        ("received", now.delivered),
    ];
    for (name, rate) in rates {
        write_to(&mut line, format_args!(" {name} {:>5}", rate.as_kbps()));
    }
    line.push_str(" kbit/s");
    for (name, time) in [("RTT", now.rtt), ("delay", now.delay)] {
        match time {
            Some(time) => write_to(&mut line, format_args!(" · {name} {} ms", time.as_millis())),
            None => write_to(&mut line, format_args!(" · {name} –")),
        }
    }
    let contents = match (now.picture, now.sound) {
        (true, true) => "picture and sound",
        (true, false) => "picture, no sound",
        (false, true) => "sound, no picture",
        (false, false) => "nothing yet",
    };
    write_to(
        &mut line,
        format_args!(
            " · late {}, gaps {} · CC errors {} · {} frames, {contents}",
            now.late_packets, now.late_gaps, now.continuity_errors, now.video_frames
        ),
    );
    line
}

/// The line before the first encoded picture, without an end: there are no figures yet. `waited` is since the
/// demonstration was started; `state` and `reason` are the stream's.
pub fn line_before(waited: Duration, state: &str, reason: Option<&str>) -> String {
    let seconds = waited.as_secs();
    format!("{:02}:{:02} {state:<10} {}", seconds / 60, seconds % 60, reason.unwrap_or("trying encoders"))
}

/// How lines follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// Each replaces the one before; at most this many columns.
    Moving { columns: usize },
    /// One below the other: into a file, a pipe, a journal.
    Plain,
}

impl Display {
    /// What suits standard output.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Display::Plain;
        }
        let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
        // Some terminals (serial consoles) do not know their size.
        Display::Moving { columns: if columns == 0 { DEFAULT_COLUMNS } else { columns } }
    }

    /// What to write in order to show `line`.
    pub fn show(self, line: &str) -> String {
        match self {
            Display::Plain => format!("{line}\n"),
            // A line that reached the last column would wrap, and leave its first half behind.
            Display::Moving { columns } => format!("\r{}{ERASE_TO_END}", shortened(line, columns - 1)),
        }
    }

    /// What to write before anything else may follow.
    pub fn end(self) -> &'static str {
        match self {
            Display::Plain => "",
            Display::Moving { .. } => "\n",
        }
    }
}

fn shortened(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

pub(super) fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes whatever is written to it");
}

/// ECMA-48 EL: to the end of the line.
const ERASE_TO_END: &str = "\x1b[K";
const DEFAULT_COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(72),
            state: "streaming".to_owned(),
            target: Bitrate::from_kbps(3200),
            encoded: Bitrate::from_kbps(3150),
            sent: Bitrate::from_kbps(3301),
            acknowledged: Bitrate::from_kbps(3180),
            delivered: Bitrate::from_kbps(964),
            rtt: Some(Duration::from_micros(52_300)),
            delay: Some(Duration::from_millis(548)),
            late_packets: 3,
            late_gaps: 1,
            continuity_errors: 0,
            video_frames: 2160,
            picture: true,
            sound: true,
        }
    }

    #[test]
    fn shows_everything_in_one_line() {
        assert_eq!(
            line(&snapshot()),
            "01:12 streaming  target  3200 encoded  3150 sent  3301 acked  3180 received   964 kbit/s \
             · RTT 52 ms · delay 548 ms · late 3, gaps 1 · CC errors 0 · 2160 frames, picture and sound"
        );
    }

    #[test]
    fn what_is_not_known_is_not_invented() {
        let line = line(&Snapshot { state: "connecting".to_owned(), ..Snapshot::default() });
        assert!(line.contains("RTT – · delay –"), "{line}");
        assert!(line.ends_with("0 frames, nothing yet"), "{line}");
    }

    #[test]
    fn before_the_first_picture_it_says_what_it_waits_for() {
        let waited = Duration::from_secs(61);
        assert_eq!(
            line_before(waited, "starting", Some("trying the encoders of this machine: x264enc")),
            "01:01 starting   trying the encoders of this machine: x264enc"
        );
        assert_eq!(line_before(waited, "starting", None), "01:01 starting   trying encoders");
    }

    #[test]
    fn a_terminal_line_never_wraps() {
        let shown = Display::Moving { columns: 20 }.show("0123456789 äöü 0123456789");
        assert_eq!(shown, "\r0123456789 äöü 012…\x1b[K");
        assert_eq!(Display::Moving { columns: 80 }.show("short"), "\rshort\x1b[K");
        assert_eq!(Display::Plain.show("short"), "short\n");
        assert_eq!((Display::Plain.end(), Display::Moving { columns: 80 }.end()), ("", "\n"));
    }
}
