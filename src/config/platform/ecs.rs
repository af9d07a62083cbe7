//! `[platform.ecs]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::types::ProtectWhen;
use crate::config::value;

/// Tasks of ECS. Where the agent and the metadata are, the environment says.
#[derive(Clone, Debug, PartialEq)]
pub struct Ecs {
    /// Between two looks.
    pub poll: Duration,
    /// When the service is asked not to pick this task in a scale-in.
    pub protect_when: ProtectWhen,
    /// For how long, before it is said again: whole minutes.
    pub protect_for: Duration,
}

/// `[platform.ecs]`.
pub(super) struct RawEcs {
    poll: Found<Duration>,
    protect_when: Found<ProtectWhen>,
    protect_for: Found<Duration>,
}

impl RawEcs {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
            protect_when: table.read("protect_when", value::protect_when, ProtectWhen::Off),
            protect_for: table.read(
                "protect_for",
                value::protect_for,
                Duration::from_secs(60 * 60),
            ),
        }
    }

    pub(super) fn into_ecs(self) -> Ecs {
        Ecs {
            poll: self.poll.value,
            protect_when: self.protect_when.value,
            protect_for: self.protect_for.value,
        }
    }
}
