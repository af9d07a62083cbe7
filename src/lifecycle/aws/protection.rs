//! The group is asked to spare an instance that has much to lose, so that it picks an idle one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::autoscaling;
use super::cloud::Cloud;
use super::state::State;
use crate::config::ProtectWhen;
use crate::lifecycle::desk::{Desk, Load};
use crate::lifecycle::platform::{Doing, Trigger};
use crate::session::Phase;

/// How often the load is looked at, which costs nothing.
const LOOK: Duration = Duration::from_secs(1);
/// Between two calls, so that a load around the limit does not become a stream of them.
const PAUSE: Duration = Duration::from_secs(10);

/// Protects the instance from a scale-in while it should be.
pub(super) struct Protection(pub(super) Arc<Cloud>);

impl Trigger for Protection {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move { self.keep(&desk).await })
    }
}

impl Protection {
    async fn keep(&self, desk: &Desk) {
        let known = self.0.known();
        let mut last_call: Option<Instant> = None;
        loop {
            sleep(LOOK).await;
            if last_call.is_some_and(|call| call.elapsed() < PAUSE) {
                continue;
            }
            let (group, is_protected, in_service) = {
                let known = known.borrow();
                let in_service = known.state.as_ref().is_some_and(State::is_in_service);
                (known.group.clone(), known.is_protected, in_service)
            };
            let phase = desk.phase().borrow().phase;
            let wanted = wanted(self.0.settings.protect_when, phase, desk.load());
            // Another state than this one cannot be protected.
            let (Some(group), true) = (group, in_service) else {
                continue;
            };
            if wanted == is_protected {
                continue;
            }
            let (Some(wanted), Some(instance)) = (wanted, self.0.instance().await) else {
                continue;
            };
            last_call = Some(Instant::now());
            let went = autoscaling::protect(&self.0.api, &group, instance, wanted).await;
            if went.is_ok() {
                desk.know("scale_in_protection", if wanted { "on" } else { "off" });
                self.0.note(|known| known.is_protected = Some(wanted));
                tracing::info!(on = wanted, "scale-in protection");
            }
        }
    }
}

/// Whether the instance should be protected; nothing before it serves. Once it is on its way out
/// protection is of no use, whatever holds live: the drain waits for these.
fn wanted(when: ProtectWhen, phase: Phase, load: Load) -> Option<bool> {
    match phase {
        Phase::Starting => None,
        Phase::Serving => Some(when.holds_for(load.open, load.holds)),
        Phase::LameDuck | Phase::Draining | Phase::Closing | Phase::Drained => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serves_much_is_protected_until_it_drains() {
        let when = ProtectWhen::OpenAbove(2);
        let load = |open, holds| Load { open, holds };
        for (phase, load, expected) in [
            (Phase::Starting, load(9, 0), None),
            (Phase::Serving, load(2, 0), Some(false)),
            (Phase::Serving, load(3, 0), Some(true)),
            (Phase::Serving, load(0, 1), Some(true)),
            (Phase::LameDuck, load(9, 1), Some(false)),
            (Phase::Drained, load(0, 0), Some(false)),
        ] {
            assert_eq!(wanted(when, phase, load), expected, "{phase} {load:?}");
        }
    }
}
