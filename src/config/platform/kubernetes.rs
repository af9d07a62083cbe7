//! `[platform.kubernetes]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// Pods.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Between two looks.
    pub poll: Duration,
}

/// `[platform.kubernetes]`.
pub(super) struct RawKubernetes {
    poll: Found<Duration>,
}

impl RawKubernetes {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
        }
    }

    pub(super) fn into_kubernetes(self) -> Kubernetes {
        Kubernetes {
            poll: self.poll.value,
        }
    }
}
