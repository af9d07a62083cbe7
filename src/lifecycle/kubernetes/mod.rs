//! Kubernetes: the pod's own deletion, what deleting it would cost, and events about its drains.
//!
//! All of it by the pod's own service account, and each part only as far as that may: what is
//! forbidden is said once and left.

mod account;
mod api;
mod cost;
mod events;
mod pod;
mod seen;
mod settings;
mod watch;

use std::sync::Arc;

use crate::config::PlatformName;
use crate::config::platform::Kubernetes;

use super::desk::{Desk, Desks};
use super::platform::Platform;
use api::Api;
use cost::Cost;
use events::Events;
use seen::Seen;
use watch::Watch;

pub(super) use settings::ask;

/// Kubernetes, as far as the environment says where it is.
pub(super) fn platform(settings: &Kubernetes, desks: &Desks) -> Platform {
    let desk = Desk::new(PlatformName::Kubernetes, desks, None);
    let mut platform = Platform {
        desk: desk.clone(),
        triggers: Vec::new(),
        completions: Vec::new(),
    };
    let api = match Api::find(settings, |name| std::env::var(name).ok()) {
        Ok(api) => Arc::new(api),
        Err(story) => {
            desk.went("find", Err(("unset", story)));
            return platform;
        }
    };
    desk.know("pod", api.pod.as_str());
    desk.know("namespace", api.namespace.as_str());
    let seen = Arc::new(Seen::default());
    platform.triggers.push(Box::new(Watch {
        api: Arc::clone(&api),
        seen: Arc::clone(&seen),
        poll: settings.poll,
    }));
    if settings.pod_deletion_cost {
        platform.triggers.push(Box::new(Cost {
            api: Arc::clone(&api),
            seen: Arc::clone(&seen),
            every: settings.deletion_cost_every,
        }));
    }
    if settings.events {
        platform.completions.push(Box::new(Events::new(api, seen)));
    }
    platform
}
