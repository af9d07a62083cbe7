//! `[platform.gcp]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// Notices of virtual machines.
#[derive(Clone, Debug)]
pub struct Gcp {
    /// Between two looks.
    pub poll: Duration,
}

/// `[platform.gcp]`.
pub(super) struct RawGcp {
    poll: Found<Duration>,
}

impl RawGcp {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
        }
    }

    pub(super) fn into_gcp(self) -> Gcp {
        Gcp {
            poll: self.poll.value,
        }
    }
}
