//! `[platform.aws]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// EC2 Auto Scaling, and target groups.
#[derive(Clone, Debug)]
pub struct Aws {
    /// Between two looks.
    pub poll: Duration,
}

/// `[platform.aws]`.
pub(super) struct RawAws {
    poll: Found<Duration>,
}

impl RawAws {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
        }
    }

    pub(super) fn into_aws(self) -> Aws {
        Aws {
            poll: self.poll.value,
        }
    }
}
