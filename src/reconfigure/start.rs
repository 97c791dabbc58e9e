//! The configuration at the daemon's start: what was changed through the API never keeps it from starting.

use std::path::{Path, PathBuf};

use crate::causes::with_causes;
use crate::config::file::{self, LoadError};
use crate::config::store::{self, Hold, Store};
use crate::config::{Document, Layers};

/// What the daemon starts with.
#[derive(Debug)]
pub struct Start {
    pub(super) file: PathBuf,
    pub(super) store: Store,
    pub(super) file_text: String,
    pub(super) overrides: String,
    /// What counts.
    pub layers: Layers,
    /// Why a change was taken back that ran before.
    pub taken_back: Option<String>,
    /// What is wrong with the overrides; those that are no use are not used.
    pub trouble: Option<String>,
    /// Why changes cannot be kept, as it seems, or as is certain where they are blocked.
    pub unkept: Option<String>,
    pub(super) is_blocked: Option<String>,
}

/// The file itself is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] LoadError),
}

impl Start {
    /// Reads the file and the overrides. A change that nobody confirmed is taken back; overrides that are no
    /// configuration, or do not go with the file any more, are set aside, and those that cannot be read stay, which
    /// blocks changes until the next start. `hold` keeps other daemons away meanwhile. Blocks on the file system.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong by itself.
    pub fn read(file: &Path, store: Store, hold: &Hold) -> Result<Start, Error> {
        let file_text = file::text(file)?;
        let mut troubles = Vec::new();
        let taken_back = match store.take_back() {
            Ok(was_there) => was_there.then(|| NOT_CONFIRMED.to_owned()),
            Err(error) => {
                troubles.push(with_causes(&error));
                None
            }
        };
        let kept = store.load();
        // Whole, for all that is known: it is left for a start that can read it.
        let unread = kept.as_ref().err().filter(|error| error.may_pass()).map(ToString::to_string);
        let both = kept.map_err(|error| error.to_string()).and_then(|overrides| {
            let layers = Layers::parse(&file_text, &overrides).map_err(|problems| {
                let name = |document| match document {
                    Document::File => file.display().to_string(),
                    Document::Overrides => store.path().display().to_string(),
                };
                problems.render(name)
            });
            Ok((layers?, overrides))
        });
        let mut is_blocked = None;
        let (layers, overrides) = match both {
            Ok(both) => both,
            Err(reason) => {
                let problems = |problems| LoadError::Invalid { path: file.to_owned(), problems };
                let alone = Layers::parse(&file_text, "").map_err(problems)?;
                if let Some(cause) = unread {
                    troubles.push(format!("the overrides are not used: {cause}"));
                    is_blocked = Some(format!("{cause}; restart uplinkd once it can be read"));
                } else if !matches!(store.load(), Ok(overrides) if overrides.is_empty()) {
                    let set_aside = store.set_aside();
                    troubles.push(refused(&set_aside, &reason));
                    is_blocked = in_the_way(&store, &set_aside);
                }
                (alone, String::new())
            }
        };
        // What a change would be answered comes first.
        let unkept = is_blocked.clone().or_else(|| hold.trouble.as_ref().map(|error| with_causes(error)));
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        let (file, overrides) = (file.to_owned(), overrides);
        Ok(Start { file, store, file_text, overrides, layers, taken_back, trouble, unkept, is_blocked })
    }
}

fn refused(set_aside: &Result<PathBuf, store::Error>, reason: &str) -> String {
    let reason = reason.trim_end().replace('\n', "; ");
    match set_aside {
        Ok(path) => format!("the overrides were not used, and are now {}: {reason}", path.display()),
        Err(error) => format!("the overrides were not used: {reason}; {}", with_causes(error)),
    }
}

/// What is still in the way, which the next change would replace.
fn in_the_way(store: &Store, set_aside: &Result<PathBuf, store::Error>) -> Option<String> {
    let cause = with_causes(set_aside.as_ref().err()?);
    let is_gone = matches!(store.load(), Ok(overrides) if overrides.is_empty());
    (!is_gone).then(|| format!("the overrides are no use: {cause}; restart uplinkd once they are gone"))
}

const NOT_CONFIRMED: &str = "the daemon ended before somebody confirmed it";
