//! The log: journald with fields under systemd, readable lines on stderr otherwise.

mod catalogue;

use log::kv::{self, Key, Source, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use systemd_journal_logger::{JournalLog, connected_to_journal};

pub use self::catalogue::ids as message_ids;

/// Installs the logger. Afterwards [`set_level`] changes the level of a running daemon.
///
/// # Errors
/// When the journal's socket cannot be used, or a logger is there already.
pub fn init(level: LevelFilter) -> Result<(), Error> {
    if connected_to_journal() {
        log::set_boxed_logger(Box::new(Journal::connect()?))?;
    } else {
        env_logger::Builder::new()
            .filter_level(LevelFilter::Trace) // the level proper is log's own, which can change
            .filter_module(CHATTY, LevelFilter::Warn)
            .try_init()?;
    }
    set_level(level);
    Ok(())
}

/// Why the program ends, where it does not end well: to the journal under systemd, else to whoever called it.
pub fn last_words(event: &'static str, message: &str) {
    let fields = [("event", event)];
    let fields = Fields::new(&fields);
    let tell = |journal: Journal| {
        let mut record = Record::builder();
        let record = record.level(Level::Error).target(module_path!()).key_values(&fields);
        journal.0.journal_send(&record.args(format_args!("{message}")).build())
    };
    let is_told = connected_to_journal() && Journal::connect().and_then(tell).is_ok();
    if !is_told {
        eprintln!("{message}");
    }
}

/// The journal, less what nobody could read.
struct Journal(JournalLog);

impl Journal {
    fn connect() -> std::io::Result<Journal> {
        Ok(Journal(JournalLog::new()?.with_syslog_identifier("uplinkd".to_string())))
    }
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (metadata.level() <= Level::Warn || !metadata.target().starts_with(CHATTY))
            && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let fields = Fields::new(record.key_values());
            self.0.log(&record.to_builder().key_values(&fields).build());
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Key-values under names of our own: `stream` becomes `UPLINKD_STREAM` in the journal, which has names of its own,
/// and everybody else's. And the journal's `MESSAGE_ID` of an event that has one.
struct Fields<'a> {
    source: &'a dyn Source,
    /// In the source's order.
    names: Vec<String>,
    message_id: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn new(source: &'a dyn Source) -> Fields<'a> {
        let mut first = FirstLook::default();
        // Without all names none of the fields is written, and the line still is.
        let first = source.visit(&mut first).map(|()| first).unwrap_or_default();
        let message_id = first.event.and_then(|event| catalogue::id(&event, first.state.as_deref()));
        Fields { source, names: first.names, message_id }
    }
}

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        if let Some(id) = self.message_id {
            visitor.visit_pair(Key::from_str("message_id"), Value::from(id))?;
        }
        self.source.visit(&mut Renamed { visitor, names: self.names.iter() })
    }
}

/// What is to be known before the first of them is written.
#[derive(Default)]
struct FirstLook {
    names: Vec<String>,
    event: Option<String>,
    state: Option<String>,
}

impl<'kvs> VisitSource<'kvs> for FirstLook {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.names.push(format!("uplinkd_{key}"));
        match key.as_str() {
            "event" => self.event = Some(value.to_string()),
            "state" => self.state = Some(value.to_string()),
            _ => {}
        }
        Ok(())
    }
}

/// Passes each pair on under the name that is next.
struct Renamed<'a, 'kvs> {
    visitor: &'a mut dyn VisitSource<'kvs>,
    names: std::slice::Iter<'kvs, String>,
}

impl<'kvs> VisitSource<'kvs> for Renamed<'_, 'kvs> {
    fn visit_pair(&mut self, _: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        match self.names.next() {
            Some(name) => self.visitor.visit_pair(Key::from_str(name), value),
            None => Ok(()),
        }
    }
}

/// It logs every packet.
const CHATTY: &str = "srt_protocol";

/// From now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot use the journal")]
    Journal(#[from] std::io::Error),
    #[error("a logger is installed already")]
    Installed(#[from] SetLoggerError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: &dyn Source) -> Vec<String> {
        #[derive(Default)]
        struct Seen(Vec<String>);
        impl<'kvs> VisitSource<'kvs> for Seen {
            fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
                self.0.push(format!("{key}={value}"));
                Ok(())
            }
        }
        let mut seen = Seen::default();
        Fields::new(fields).visit(&mut seen).unwrap();
        seen.0
    }

    #[test]
    fn fields_go_to_the_journal_under_names_of_our_own() {
        let fields = [("stream", "main"), ("reason", "no signal")];
        assert_eq!(written(&fields), ["uplinkd_stream=main", "uplinkd_reason=no signal"]);
    }

    #[test]
    fn what_somebody_may_have_to_act_upon_has_the_id_of_its_explanation() {
        let id = |event, state| format!("message_id={}", catalogue::id(event, state).unwrap());
        let failed = [("event", "stream_state"), ("stream", "main"), ("state", "failed")];
        let expected = [
            &id("stream_state", Some("failed")),
            "uplinkd_event=stream_state",
            "uplinkd_stream=main",
            "uplinkd_state=failed",
        ];
        assert_eq!(written(&failed), expected);
        let streams = [("event", "stream_state"), ("state", "streaming")];
        assert_eq!(written(&streams), ["uplinkd_event=stream_state", "uplinkd_state=streaming"]);
    }
}
