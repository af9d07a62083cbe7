//! `[platform.other]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// A file and a command, for what has no table of its own.
#[derive(Clone, Debug)]
pub struct Other {
    /// Between two looks.
    pub poll: Duration,
}

/// `[platform.other]`.
pub(super) struct RawOther {
    poll: Found<Duration>,
}

impl RawOther {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
        }
    }

    pub(super) fn into_other(self) -> Other {
        Other {
            poll: self.poll.value,
        }
    }
}
