//! The metadata server of a Google virtual machine, with its long polls.

use std::time::Duration;

use super::http::{Answer, Ask};
use super::{Shared, World};

/// What the server knows of the machine.
pub struct Gcp {
    /// `TRUE` or `FALSE`.
    pub preempted: String,
    /// `NONE` or what is to be done.
    pub maintenance: String,
}

impl Default for Gcp {
    fn default() -> Gcp {
        Gcp {
            preempted: "FALSE".to_owned(),
            maintenance: "NONE".to_owned(),
        }
    }
}

fn value(world: &World, path: &str) -> Option<String> {
    match path {
        "instance/preempted" => Some(world.gcp.preempted.clone()),
        "instance/maintenance-event" => Some(world.gcp.maintenance.clone()),
        "instance/name" => Some("agents-3".to_owned()),
        "instance/id" => Some("4520031799277581759".to_owned()),
        _ => None,
    }
}

/// The ETag of a value: the same value has the same.
fn tag(value: &str) -> String {
    let sum = value
        .bytes()
        .fold(7_u64, |sum, byte| sum * 31 + u64::from(byte));
    format!("{sum:016x}")
}

/// Answers a request below `/computeMetadata/v1/`.
pub async fn answer(world: &Shared, ask: &Ask) -> Answer {
    if ask.header("metadata-flavor") != Some("Google") {
        let what = format!("gcp: {} without its header", ask.path);
        world.change(|world| world.complaints.push(what));
        return Answer::text(403, "Missing Metadata-Flavor:Google header.");
    }
    let path = ask.action.as_str();
    let Some(at_first) = world.look(|world| value(world, path)) else {
        return Answer::text(404, "");
    };
    if ask.field("wait_for_change") == "true" {
        let known = match ask.fields.get("last_etag") {
            Some(last) => last.clone(),
            None => tag(&at_first),
        };
        let seconds = ask.field("timeout_sec").parse().unwrap_or(300);
        let changed = world.until(|world| value(world, path).is_some_and(|now| tag(&now) != known));
        let _ = tokio::time::timeout(Duration::from_secs(seconds), changed).await;
    }
    let now = world.look(|world| value(world, path)).unwrap_or(at_first);
    let mut answer = Answer::text(200, now.clone());
    answer.headers.push(("etag", tag(&now)));
    answer
        .headers
        .push(("metadata-flavor", "Google".to_owned()));
    answer
}
