//! ECS: what the task's metadata say, and the task's protection from scale-in.
//!
//! Where the metadata and the agent are, the container's environment says. SIGTERM comes as
//! everywhere; for a task of a service it comes after the deregistration delay.

mod guard;
mod protection;
mod state;
mod task;

use std::sync::Arc;

use http::Uri;

use crate::config::PlatformName;
use crate::config::ProtectWhen;
use crate::config::platform::Ecs;

use super::desk::{Desk, Desks};
use super::platform::Platform;
use guard::Guard;
use state::Agent;
use task::Watch;

/// Where the container's metadata are, and below it those of its task.
const METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// Where the agent takes calls of the task.
const AGENT: &str = "ECS_AGENT_URI";

/// ECS, as far as the environment says where it is.
pub(super) fn platform(settings: &Ecs, desks: &Desks) -> Platform {
    let desk = Desk::new(PlatformName::Ecs, desks, None);
    let mut platform = Platform {
        desk: desk.clone(),
        triggers: Vec::new(),
        completions: Vec::new(),
    };
    match uri(METADATA, "/task") {
        Ok(uri) => platform.triggers.push(Box::new(Watch {
            uri,
            poll: settings.poll,
        })),
        Err(story) => desk.went(task::CALL, Err(("unset", story))),
    }
    if settings.protect_when == ProtectWhen::Off {
        return platform;
    }
    match uri(AGENT, "/task-protection/v1/state") {
        Ok(uri) => {
            let agent = Agent { uri };
            let guard = Arc::new(Guard::new(
                agent,
                settings.protect_when,
                settings.protect_for,
            ));
            platform.triggers.push(Box::new(Arc::clone(&guard)));
            platform.completions.push(Box::new(guard));
        }
        Err(story) => desk.went(state::CALL, Err(("unset", story))),
    }
    platform
}

/// A URI of the environment, with a path behind it.
fn uri(variable: &str, path: &str) -> Result<Uri, String> {
    let base = std::env::var(variable)
        .map_err(|_| format!("{variable} is not set: this is no task of ECS"))?;
    let uri = format!("{}{path}", base.trim_end_matches('/'));
    uri.parse()
        .map_err(|error| format!("{variable} is not a URI: {error}"))
}
