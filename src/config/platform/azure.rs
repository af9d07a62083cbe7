//! `[platform.azure]`.

use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::types::OnFreeze;
use crate::config::value;

/// Scheduled events of virtual machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Azure {
    /// Between two looks.
    pub poll: Duration,
    /// Where the metadata service is: the beginning of its URLs.
    pub endpoint: String,
    /// The name of this machine in the events; if none, the metadata service is asked.
    pub vm_name: Option<String>,
    /// What is done when the machine is to be frozen.
    pub on_freeze: OnFreeze,
    /// Whether an event of this machine alone is acknowledged when the drain is over.
    pub acknowledge: bool,
}

/// `[platform.azure]`.
pub(super) struct RawAzure {
    poll: Found<Duration>,
    endpoint: Found<String>,
    vm_name: Found<Option<String>>,
    on_freeze: Found<OnFreeze>,
    acknowledge: Found<bool>,
}

impl RawAzure {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        let endpoint = "http://169.254.169.254".to_owned();
        Self {
            poll: table.read("poll", value::positive_duration, Duration::from_secs(5)),
            endpoint: table.read("endpoint", value::metadata_url, endpoint),
            vm_name: table.read("vm_name", value::vm_name, None),
            on_freeze: table.read("on_freeze", value::on_freeze, OnFreeze::Ignore),
            acknowledge: table.read("acknowledge", value::switch, true),
        }
    }

    pub(super) fn into_azure(self) -> Azure {
        Azure {
            poll: self.poll.value,
            endpoint: self.endpoint.value,
            vm_name: self.vm_name.value,
            on_freeze: self.on_freeze.value,
            acknowledge: self.acknowledge.value,
        }
    }
}
