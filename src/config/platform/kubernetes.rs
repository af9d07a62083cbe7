//! `[platform.kubernetes]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::section::{Found, Section};
use crate::config::value;

/// Pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// Between two looks at the pod.
    pub poll: Duration,
    /// Whether the pod is annotated with what its deletion would cost.
    pub pod_deletion_cost: bool,
    /// The least between two changes of that.
    pub deletion_cost_every: Duration,
    /// Whether events are written about drains.
    pub events: bool,
    /// The pod's name; without one, what the environment says.
    pub pod: Option<String>,
    /// Where the API server is; without it, what the environment says.
    pub api_url: Option<String>,
    /// Where the service account's token, namespace and authority are.
    pub service_account_dir: PathBuf,
}

/// `[platform.kubernetes]`.
pub(super) struct RawKubernetes {
    poll: Found<Duration>,
    pod_deletion_cost: Found<bool>,
    deletion_cost_every: Found<Duration>,
    events: Found<bool>,
    pod: Found<Option<String>>,
    api_url: Found<Option<String>>,
    service_account_dir: Found<PathBuf>,
}

impl RawKubernetes {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        let secs = Duration::from_secs;
        let mounted = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            poll: table.read("poll", value::positive_duration, secs(5)),
            pod_deletion_cost: table.read("pod_deletion_cost", value::switch, false),
            deletion_cost_every: table.read(
                "deletion_cost_every",
                value::positive_duration,
                secs(30),
            ),
            events: table.read("events", value::switch, true),
            pod: table.read("pod", value::pod_name, None),
            api_url: table.read("api_url", value::api_url, None),
            service_account_dir: table.read("service_account_dir", value::directory, mounted),
        }
    }

    pub(super) fn into_kubernetes(self) -> Kubernetes {
        Kubernetes {
            poll: self.poll.value,
            pod_deletion_cost: self.pod_deletion_cost.value,
            deletion_cost_every: self.deletion_cost_every.value,
            events: self.events.value,
            pod: self.pod.value,
            api_url: self.api_url.value,
            service_account_dir: self.service_account_dir.value,
        }
    }
}
