//! The file whose appearance starts a drain.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::lifecycle::desk::{Desk, Leaving};
use crate::lifecycle::platform::{Doing, Trigger};

/// The longest reason, in bytes.
const LONGEST_REASON: u64 = 200;

/// Watches for the file.
pub(super) struct DrainFile {
    path: PathBuf,
    poll: Duration,
}

impl DrainFile {
    pub(super) fn new(path: PathBuf, poll: Duration) -> DrainFile {
        DrainFile { path, poll }
    }

    async fn look_out(&self, desk: &Desk) {
        const CALL: &str = "drain_file";
        let mut is_there = false;
        let mut ticks = interval(self.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = match look(&self.path) {
                Ok(found) => found,
                Err(error) => {
                    let story = format!("{}: {error}", self.path.display());
                    desk.went(CALL, Err(("unreadable", story)));
                    continue;
                }
            };
            desk.went(CALL, Ok(()));
            match (is_there, &found) {
                (false, Some(reason)) => desk.leaving(Leaving {
                    sign: reason.clone(),
                    left: None,
                    looks_away: false,
                }),
                (true, None) => desk.staying("the drain file is gone").await,
                _ => {}
            }
            is_there = found.is_some();
        }
    }
}

impl Trigger for DrainFile {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move { self.look_out(&desk).await })
    }
}

/// Why to drain, if the file is there.
///
/// # Errors
/// When it cannot be known.
fn look(path: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Its being there is enough: what cannot be read, or would keep us waiting, gives no reason.
    let mut text = Vec::new();
    if metadata.is_file()
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(LONGEST_REASON).read_to_end(&mut text);
    }
    Ok(Some(reason(&text)))
}

/// The first line, if it says anything.
fn reason(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    match line.trim() {
        "" => "drain file".to_owned(),
        reason => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_reason() {
        assert_eq!(reason(b"  patch day \nnot this"), "patch day");
        assert_eq!(reason(b"a\x1b[31mb\xff"), "a[31mb\u{fffd}");
        for nothing in ["", "\n", "  \n later"] {
            assert_eq!(reason(nothing.as_bytes()), "drain file");
        }
    }

    #[test]
    fn being_there_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drain");
        assert_eq!(look(&path).unwrap(), None);
        fs::write(&path, "x".repeat(1000)).unwrap();
        assert_eq!(look(&path).unwrap(), Some("x".repeat(200)));
        assert_eq!(
            look(folder.path()).unwrap().as_deref(),
            Some("drain file"),
            "a folder says nothing"
        );
    }
}
