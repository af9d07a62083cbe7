//! The agent endpoint of an ECS task: its metadata, and its protection.

use serde_json::json;

use super::http::{Answer, Ask, unknown};
use super::{Cloud, World};
use crate::harness::proxy::Builder;

const TASK: &str =
    "arn:aws:ecs:eu-central-1:123456789012:task/agents/0123456789abcdef0123456789abcdef";

/// What the agent knows of the task.
pub struct Ecs {
    /// Whether a scale-in spares it.
    pub protected: bool,
    /// `RUNNING`, `STOPPED`.
    pub desired: String,
    /// `RUNNING`, `DEACTIVATING`, `STOPPING`.
    pub known: String,
}

impl Default for Ecs {
    fn default() -> Ecs {
        Ecs {
            protected: false,
            desired: "RUNNING".to_owned(),
            known: "RUNNING".to_owned(),
        }
    }
}

impl Cloud {
    /// A proxy in a task of its own.
    pub fn task(&self, proxy: Builder) -> Builder {
        let url = format!("http://{}", self.addr);
        proxy
            .environment("AWS_REGION", super::REGION)
            .environment("AWS_ENDPOINT_URL", &url)
            .environment("ECS_AGENT_URI", &format!("{url}/api/task"))
            .environment("ECS_CONTAINER_METADATA_URI_V4", &format!("{url}/v4/task"))
            .environment(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                &format!("{url}/v4/task/credentials"),
            )
    }
}

/// Answers a request of the task.
pub fn answer(world: &mut World, ask: &Ask) -> Answer {
    let ecs = &mut world.ecs;
    match ask.action.as_str() {
        "GET task-protection/v1/state" => {}
        "PUT task-protection/v1/state" => {
            let Ok(protected) = ask.field("ProtectionEnabled").parse() else {
                let error = json!({
                    "requestID": "r",
                    "error": {
                        "Arn": TASK,
                        "Code": "InvalidParameterException",
                        "Message": "Invalid value for ProtectionEnabled",
                    },
                });
                return Answer {
                    status: 400,
                    ..Answer::json(error.to_string())
                };
            };
            let minutes = ask.fields.get("ExpiresInMinutes");
            let minutes = minutes.map(|minutes| minutes.parse::<u32>());
            ecs.protected = protected;
            if !matches!(minutes, None | Some(Ok(1..=2880))) {
                let what = format!("ecs: protected for {minutes:?} minutes");
                world.complaints.push(what);
            }
        }
        "GET metadata" => return Answer::json(container().to_string()),
        "GET metadata/task" => {
            let task = json!({
                "Cluster": "agents",
                "TaskARN": TASK,
                "Family": "agent",
                "Revision": "7",
                "DesiredStatus": ecs.desired,
                "KnownStatus": ecs.known,
                "LaunchType": "FARGATE",
                "AvailabilityZone": "eu-central-1a",
                "Containers": [container()],
            });
            return Answer::json(task.to_string());
        }
        "GET metadata/credentials" => {
            let credentials = json!({
                "AccessKeyId": world.imds.key(),
                "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "Token": world.imds.session(),
                "Expiration": "2099-01-01T00:00:00Z",
            });
            return Answer::json(credentials.to_string());
        }
        _ => return unknown(world, ask),
    }
    let mut protection = json!({
        "ProtectionEnabled": world.ecs.protected,
        "TaskArn": TASK,
    });
    if world.ecs.protected {
        protection["ExpirationDate"] = "2099-01-01T00:00:00Z".into();
    }
    Answer::json(json!({ "protection": protection }).to_string())
}

fn container() -> serde_json::Value {
    json!({
        "DockerId": "0123456789abcdef0123456789abcdef-1",
        "Name": "lameduck",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": [ADDRESS]}],
    })
}

/// The task's own address, by which it is a target.
pub const ADDRESS: &str = "10.0.2.106";
