//! `[platform.ecs]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// Tasks of ECS.
#[derive(Clone, Debug)]
pub struct Ecs {
    /// Between two looks.
    pub poll: Duration,
}

/// `[platform.ecs]`.
pub(super) struct RawEcs {
    poll: Found<Duration>,
}

impl RawEcs {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
        }
    }

    pub(super) fn into_ecs(self) -> Ecs {
        Ecs {
            poll: self.poll.value,
        }
    }
}
