//! The log: journald with fields under systemd, readable lines on stderr otherwise.

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Installs the logger. Afterwards [`set_level`] changes the level of a running daemon.
///
/// # Errors
/// When the journal's socket cannot be used, or a logger is there already.
pub fn init(level: LevelFilter) -> Result<(), Error> {
    if connected_to_journal() {
        let journal = JournalLog::new()?.with_syslog_identifier("uplinkd".to_string());
        log::set_boxed_logger(Box::new(Journal(journal)))?;
    } else {
        env_logger::Builder::new()
            .filter_level(LevelFilter::Trace) // the level proper is log's own, which can change
            .filter_module(CHATTY, LevelFilter::Warn)
            .try_init()?;
    }
    set_level(level);
    Ok(())
}

/// The journal, less what nobody could read.
struct Journal(JournalLog);

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (metadata.level() <= Level::Warn || !metadata.target().starts_with(CHATTY))
            && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
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
