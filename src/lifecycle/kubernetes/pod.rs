//! What is read of a pod (`Pod` of `core/v1`).

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A pod.
#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    termination_grace_period_seconds: Option<u64>,
    init_containers: Vec<InitContainer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitContainer {
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Deserialize)]
struct ContainerStatus {
    #[serde(default)]
    state: State,
}

/// The one that is there is the state.
#[derive(Debug, Default, Deserialize)]
struct State {
    terminated: Option<IgnoredAny>,
}

/// A pod's deletion.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deletion<'a> {
    /// By when the pod is to be gone, as the cluster writes it. A later deletion with less grace
    /// makes it earlier.
    pub(super) at: &'a str,
    /// The grace that was given, from the deletion on.
    grace: Duration,
}

impl Pod {
    pub(super) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// The node that it runs on.
    pub(super) fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref()
    }

    /// What a deletion gives that asks for nothing else.
    pub(super) fn grace_period(&self) -> Option<Duration> {
        let seconds = self.spec.termination_grace_period_seconds?;
        Some(Duration::from_secs(seconds))
    }

    /// The deletion under way.
    pub(super) fn deletion(&self) -> Option<Deletion<'_>> {
        let at = self.metadata.deletion_timestamp.as_deref()?;
        let grace = self.metadata.deletion_grace_period_seconds;
        let grace = grace.map(Duration::from_secs).or(self.grace_period());
        Some(Deletion {
            at,
            grace: grace.unwrap_or_default(),
        })
    }

    /// Whether no container is left for which this one stands in front.
    ///
    /// Nobody says which container we are. We run, so where all main ones have ended, we are a
    /// sidecar among the init containers; and where no init container could be us, we are the last
    /// main one that runs.
    pub(super) fn others_have_exited(&self) -> bool {
        let all = &self.status.container_statuses;
        let has_ended = |status: &&ContainerStatus| status.state.terminated.is_some();
        let ended = all.iter().filter(has_ended).count();
        let may_be_us = |init: &InitContainer| init.restart_policy.as_deref() == Some("Always");
        let is_sidecar = self.spec.init_containers.iter().any(may_be_us);
        ended > 0 && ended + usize::from(!is_sidecar) >= all.len()
    }
}

impl Deletion<'_> {
    /// How long there is until the kubelet kills, by our clock; `since` is how long ago nothing was
    /// known of the deletion yet, if it was looked. The cluster's clock may be another, but it
    /// cannot be so wrong that more is left than was given, or less than what looking took from it.
    pub(super) fn left(&self, now: SystemTime, since: Option<Duration>) -> Duration {
        let least = since.map_or(Duration::ZERO, |since| self.grace.saturating_sub(since));
        let at = humantime::parse_rfc3339(self.at).ok();
        let left = at.map(|at| at.duration_since(now).unwrap_or_default());
        left.unwrap_or(least).clamp(least, self.grace)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pod(inits: &[&str], containers: &[&str]) -> Pod {
        let inits = inits.iter().map(|policy| match *policy {
            "" => json!({"name": "init"}),
            policy => json!({"name": "init", "restartPolicy": policy}),
        });
        let statuses = containers
            .iter()
            .map(|state| json!({"name": "c", "state": {*state: {}}}));
        let pod = json!({
            "metadata": {"name": "a", "uid": "u"},
            "spec": {"initContainers": inits.collect::<Vec<_>>()},
            "status": {"containerStatuses": statuses.collect::<Vec<_>>()},
        });
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn the_others_have_exited_when_none_but_us_can_be_left() {
        for (inits, containers, exited) in [
            // A native sidecar.
            (&["Always"][..], &["running"][..], false),
            (&["Always"], &["terminated"], true),
            (&["", "Always"], &["terminated", "running"], false),
            (&["", "Always"], &["terminated", "terminated"], true),
            // A plain container next to the agent.
            (&[], &["running", "running"], false),
            (&[], &["running", "terminated"], true),
            (&[""], &["running", "terminated"], true),
            (&[], &["running", "waiting", "terminated"], false),
            // A plain container, and somebody else's sidecar: it cannot be told.
            (&["Always"], &["running", "terminated"], false),
            // Alone, and not told of yet.
            (&[], &["running"], false),
            (&[], &[], false),
            (&["Always"], &[], false),
        ] {
            let pod = pod(inits, containers);
            assert_eq!(pod.others_have_exited(), exited, "{inits:?} {containers:?}");
        }
    }

    #[test]
    fn what_is_left_of_the_grace_is_not_more_or_less_than_can_be() {
        let at = "2026-01-01T00:01:00Z";
        let grace = secs(30);
        let deletion = Deletion { at, grace };
        let end = humantime::parse_rfc3339(at).expect("a time");
        assert_eq!(deletion.left(end - secs(27), None), secs(27));
        assert_eq!(deletion.left(end - secs(27), Some(secs(5))), secs(27));
        // Our clock is behind, or ahead.
        assert_eq!(deletion.left(end - secs(90), Some(secs(5))), grace);
        assert_eq!(deletion.left(end + secs(90), Some(secs(5))), secs(25));
        assert_eq!(deletion.left(end + secs(90), None), Duration::ZERO);
        let unread = Deletion { at: "soon", grace };
        assert_eq!(unread.left(end, Some(secs(5))), secs(25));
    }
}
