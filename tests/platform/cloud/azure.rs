//! Scheduled events of an Azure virtual machine.

use hyper::Method;
use serde_json::{Value, json};

use super::World;
use super::http::{Answer, Ask, unknown};

/// The name of the machine.
pub const NAME: &str = "agents_3";

/// The scheduled events.
#[derive(Default)]
pub struct Azure {
    incarnation: u64,
    events: Vec<Value>,
    /// The events that were released.
    pub released: Vec<String>,
}

impl Azure {
    /// Schedules an event for these machines.
    pub fn schedule(&mut self, id: &str, kind: &str, resources: &[&str], not_before: &str) {
        self.incarnation += 1;
        self.events.push(json!({
            "EventId": id,
            "EventType": kind,
            "ResourceType": "VirtualMachine",
            "Resources": resources,
            "EventStatus": "Scheduled",
            "NotBefore": not_before,
            "Description": "",
            "EventSource": "Platform",
            "DurationInSeconds": -1,
        }));
    }
}

/// Answers a request below `/metadata/`.
pub fn answer(world: &mut World, ask: &Ask) -> Answer {
    if ask.header("metadata") != Some("true") || ask.field("api-version").is_empty() {
        let what = format!("azure: {} without its header or version", ask.path);
        world.complaints.push(what);
        return Answer::text(400, "Bad request: Required metadata header not specified");
    }
    let azure = &mut world.azure;
    match (&ask.method, ask.path.as_str()) {
        (&Method::GET, "/metadata/instance/compute/name") => Answer::text(200, NAME),
        (&Method::GET, "/metadata/instance/compute") => {
            Answer::json(json!({"name": NAME, "location": "westeurope"}).to_string())
        }
        (&Method::GET, "/metadata/instance") => {
            Answer::json(json!({"compute": {"name": NAME}}).to_string())
        }
        (&Method::GET, "/metadata/scheduledevents") => {
            let incarnation = azure.incarnation;
            let said = json!({"DocumentIncarnation": incarnation, "Events": azure.events});
            Answer::json(said.to_string())
        }
        (&Method::POST, "/metadata/scheduledevents") => {
            let asked: Value = serde_json::from_slice(&ask.body).unwrap_or_default();
            let starts = asked["StartRequests"].as_array().cloned();
            for start in starts.unwrap_or_default() {
                let id = start["EventId"].as_str().unwrap_or_default().to_owned();
                azure.events.retain(|event| event["EventId"] != id.as_str());
                azure.incarnation += 1;
                azure.released.push(id);
            }
            Answer::text(200, "")
        }
        _ => unknown(world, ask),
    }
}
