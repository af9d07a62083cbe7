//! `[platform.azure]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// Scheduled events of virtual machines.
#[derive(Clone, Debug)]
pub struct Azure {
    /// Between two looks.
    pub poll: Duration,
}

/// `[platform.azure]`.
pub(super) struct RawAzure {
    poll: Found<Duration>,
}

impl RawAzure {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
        }
    }

    pub(super) fn into_azure(self) -> Azure {
        Azure {
            poll: self.poll.value,
        }
    }
}
