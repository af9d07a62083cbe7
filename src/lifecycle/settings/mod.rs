//! What a platform is set to, as far as that decides what a drain may take.
//!
//! Plain data, read from the platform's own answers. What is wrong with it, in the light of a
//! configuration, is for others to say.

mod ask;
mod ecs;
mod kubernetes;
mod targets;

use std::time::Duration;

pub use ask::{Said, ask};
pub use ecs::{Container, Dependency, Task};
pub use kubernetes::{Access, Answered, Pod, PodContainer, PreStop};
pub use targets::{Balancer, BalancerKind, Group, HealthCheck, Hook, Machine, TargetGroup};

use serde_json::Value;

/// The seconds that stand at a place of a document.
fn seconds(document: &Value, at: &str) -> Option<Duration> {
    let number = document.pointer(at)?.as_u64()?;
    Some(Duration::from_secs(number))
}

/// The text that stands at a place of a document.
fn text(document: &Value, at: &str) -> Option<String> {
    document.pointer(at)?.as_str().map(str::to_owned)
}

/// The members of a list at a place of a document; none if there is no list.
fn list<'a>(document: &'a Value, at: &str) -> impl Iterator<Item = &'a Value> {
    let list = document.pointer(at).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// The texts of a list at a place of a document.
fn texts(document: &Value, at: &str) -> Vec<String> {
    let texts = list(document, at).filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
