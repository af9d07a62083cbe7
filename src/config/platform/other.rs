//! `[platform.other]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// A file and a command, for what has no table of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// A drain begins when this file appears.
    pub drain_file: Option<PathBuf>,
    /// Between two looks for it.
    pub poll: Duration,
    /// The program that is run when a drain is over, with its arguments.
    pub on_drained: Option<Vec<String>>,
    /// The longest that it may take.
    pub on_drained_timeout: Duration,
}

/// `[platform.other]`.
pub(super) struct RawOther {
    drain_file: Found<Option<PathBuf>>,
    poll: Found<Duration>,
    on_drained: Found<Option<Vec<String>>>,
    on_drained_timeout: Found<Duration>,
}

impl RawOther {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        let duration = value::positive_duration;
        Self {
            drain_file: table.read("drain_file", value::file, None),
            poll: table.read("poll", duration, Duration::from_secs(1)),
            on_drained: table.read("on_drained", value::command, None),
            on_drained_timeout: table.read("on_drained_timeout", duration, Duration::from_secs(10)),
        }
    }

    pub(super) fn into_other(self) -> Other {
        Other {
            drain_file: self.drain_file.value,
            poll: self.poll.value,
            on_drained: self.on_drained.value,
            on_drained_timeout: self.on_drained_timeout.value,
        }
    }
}
