//! EC2 Auto Scaling, and target groups.
//!
//! A group deregisters an instance first, waits out the whole deregistration delay, and only then
//! speaks to its hooks. So the hook's notice is the last of the signs, and a drain that began with
//! an earlier one may be over long before the hook waits to be completed.

mod actions;
mod api;
mod autoscaling;
mod balancing;
mod clock;
mod cloud;
mod completion;
mod credentials;
mod deregistration;
mod environment;
mod fault;
mod form;
mod imds;
mod known;
mod message;
mod protection;
mod queue;
mod settings;
mod sign;
mod state;
#[cfg(test)]
mod tests;
mod triggers;
mod xml;

use std::sync::Arc;

use super::desk::{Desk, Desks};
use super::platform::{Completion, Platform, Trigger};
use crate::config::{self, PlatformName, ProtectWhen};
use crate::net::Tls;

use cloud::Cloud;
use completion::Hooks;
use deregistration::Deregistration;
use environment::Environment;
use protection::Protection;
use triggers::described::Described;
use triggers::learned::Learned;
use triggers::metadata::Metadata;
use triggers::queue::Queue;

pub(super) use settings::ask;
#[cfg(feature = "ecs")]
pub(super) use settings::ask_of_task;

/// The platform, to be set going.
pub(super) fn platform(settings: &config::Aws, desks: &Desks) -> Platform {
    let environment = Environment::of_process();
    let desk = desk(&environment, desks);
    let cloud = Arc::new(Cloud::new(desk.clone(), settings, environment));
    let mut triggers: Vec<Box<dyn Trigger>> = vec![
        Box::new(Metadata(Arc::clone(&cloud))),
        Box::new(Described(Arc::clone(&cloud))),
        Box::new(Learned(Arc::clone(&cloud))),
    ];
    if let Some(url) = settings.queue_url.clone() {
        let cloud = Arc::clone(&cloud);
        triggers.push(Box::new(Queue { cloud, url }));
    }
    if settings.protect_when != ProtectWhen::Off {
        triggers.push(Box::new(Protection(Arc::clone(&cloud))));
    }
    let mut completions: Vec<Box<dyn Completion>> = vec![Box::new(Hooks(Arc::clone(&cloud)))];
    if settings.deregister {
        completions.push(Box::new(Deregistration(cloud)));
    }
    Platform {
        desk,
        triggers,
        completions,
    }
}

/// The desk, which trusts whom the environment says.
fn desk(environment: &Environment, desks: &Desks) -> Desk {
    let tls = match environment.authorities() {
        Some(path) => Tls::of_file(&path),
        None => Tls::web(),
    };
    let tls = tls
        .inspect_err(
            |error| tracing::error!(%error, "nobody is trusted over TLS; see AWS_CA_BUNDLE"),
        )
        .ok();
    Desk::new(PlatformName::Aws, desks, tls)
}
