//! Has the task protected while it is worth it, and no longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::config::ProtectWhen;
use crate::drain::Report;
use crate::lifecycle::backoff::Backoff;
use crate::lifecycle::desk::Desk;
use crate::lifecycle::platform::{Completion, Doing, Trigger};
use crate::session::Phase;

use super::protection::{Order, Protection};
use super::state::Agent;

/// How often it is looked whether the task is to be protected.
const LOOK: Duration = Duration::from_secs(1);
/// Between two attempts, at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// The task's protection, which is kept up as long as the process serves, and given back at the end.
#[derive(Debug)]
pub(super) struct Guard {
    agent: Agent,
    when: ProtectWhen,
    length: Duration,
    /// Held over a call, so that orders reach the agent one after the other.
    protection: Mutex<Protection>,
}

impl Guard {
    pub(super) fn new(agent: Agent, when: ProtectWhen, length: Duration) -> Guard {
        Guard {
            agent,
            when,
            length,
            protection: Mutex::new(Protection::new(length)),
        }
    }

    /// Says what is to be said now; false if the agent did not take it.
    async fn tend(&self, desk: &Desk) -> bool {
        let mut protection = self.protection.lock().await;
        // A drained process has nothing to protect, whatever holds are still live.
        let over = desk.phase().borrow().phase == Phase::Drained;
        let load = desk.load();
        let wanted = !over && self.when.holds_for(load.open, load.holds);
        let now = Instant::now();
        let Some(order) = protection.order(now, wanted, over) else {
            return true;
        };
        let length = (order == Order::Protect).then_some(self.length);
        let taken = self.agent.set(desk, length).await;
        if taken {
            protection.taken(order, now);
        }
        taken
    }
}

impl Trigger for Arc<Guard> {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move {
            let mut backoff = Backoff::new(LOOK, PATIENCE);
            loop {
                let wait = if self.tend(&desk).await {
                    backoff.reset();
                    LOOK
                } else {
                    backoff.next()
                };
                sleep(wait).await;
            }
        })
    }
}

impl Completion for Arc<Guard> {
    fn complete<'a>(&'a self, desk: &'a Desk, _: Arc<Report>) -> Doing<'a> {
        Box::pin(async move {
            self.tend(desk).await;
        })
    }
}
