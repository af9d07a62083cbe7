//! The task's metadata: what it is, and whether it is to stop.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use serde::Deserialize;
use tokio::time::sleep;

use crate::lifecycle::backoff::{Backoff, jittered};
use crate::lifecycle::desk::{Desk, Leaving};
use crate::lifecycle::platform::{Doing, Trigger};

/// The name of the call.
pub(super) const CALL: &str = "task";

/// The longest that an answer may take; it comes from the same machine.
const LIMIT: Duration = Duration::from_secs(2);
/// While nothing is answered, the wait grows to so many times the usual one.
const SLOWER: u32 = 6;

/// What is read of the task.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    #[serde(rename = "TaskARN")]
    arn: String,
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    family: String,
    #[serde(default)]
    revision: String,
    /// What the service wants of it.
    #[serde(default)]
    desired_status: String,
    #[serde(default)]
    known_status: String,
}

/// Watches the task's metadata.
pub(super) struct Watch {
    pub(super) uri: Uri,
    pub(super) poll: Duration,
}

impl Trigger for Watch {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move {
            let mut backoff = Backoff::new(self.poll, self.poll * SLOWER);
            loop {
                let wait = match self.look(&desk).await {
                    Some(task) => {
                        backoff.reset();
                        note(&desk, &task);
                        if task.desired_status == "STOPPED" {
                            desk.leaving(Leaving {
                                sign: "the task's desired status is STOPPED".to_owned(),
                                left: None,
                                looks_away: false,
                            });
                            // It is final.
                            return;
                        }
                        jittered(self.poll)
                    }
                    None => backoff.next(),
                };
                sleep(wait).await;
            }
        })
    }
}

impl Watch {
    async fn look(&self, desk: &Desk) -> Option<Task> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.uri.clone();
        let task = match desk.send(request, LIMIT).await {
            Ok(answer) if answer.status().is_success() => serde_json::from_slice(answer.body())
                .map_err(|error| ("malformed", format!("what came is no task: {error}"))),
            Ok(answer) => Err(("status", format!("the answer was {}", answer.status()))),
            Err(error) => Err((error.label(), error.to_string())),
        };
        match task {
            Ok(task) => {
                desk.went(CALL, Ok(()));
                Some(task)
            }
            Err(error) => {
                desk.went(CALL, Err(error));
                None
            }
        }
    }
}

fn note(desk: &Desk, task: &Task) {
    let is_news = desk.know("task", task.arn.as_str());
    desk.know("cluster", task.cluster.as_str());
    desk.know("family", task.family.as_str());
    desk.know("revision", task.revision.as_str());
    desk.know("desired status", task.desired_status.as_str());
    desk.know("known status", task.known_status.as_str());
    if is_news {
        let Task {
            arn,
            cluster,
            family,
            revision,
            ..
        } = task;
        tracing::info!(
            platform = "ecs",
            task = arn,
            cluster,
            family,
            revision,
            "this task"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_read_from_what_the_endpoint_answers() {
        // As in the developer guide's "task-metadata-endpoint-v4-response", shortened.
        let task: Task = serde_json::from_str(
            r#"{"Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
                "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
                "Family": "curltest", "ServiceName": "MyService", "Revision": "26",
                "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
                "PullStartedAt": "2020-10-02T00:43:06.202617438Z",
                "AvailabilityZone": "us-west-2d", "LaunchType": "EC2",
                "Containers": [{"DockerId": "598cba581fe3f939459eaba1e071d5c93bb2c49b7d1ba7db6bb19deeb70d8e38",
                    "Name": "~internal~ecs~pause", "DesiredStatus": "RESOURCES_PROVISIONED"}]}"#,
        )
        .expect("a task");
        assert!(
            task.arn.ends_with("/158d1c8083dd49d6b527399fd6414f5c"),
            "{task:?}"
        );
        assert_eq!(
            (
                task.family.as_str(),
                task.revision.as_str(),
                task.desired_status.as_str()
            ),
            ("curltest", "26", "RUNNING")
        );
    }
}
