//! What a worker looks after once a second: how long sessions live, and what is held for clients that
//! do not read. Nothing is looked at where nothing of that is limited.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Config, ListenerLimits};
use crate::http::Connections;
use crate::relay::Pump;
use crate::session::{Home, ListenerIndex, Refusal};

use super::plan::Plan;

/// How often it is done.
const EVERY: Duration = Duration::from_secs(1);

/// The upkeep of a worker.
#[derive(Default)]
pub(super) struct Upkeep {
    last: Cell<Option<Instant>>,
}

impl Upkeep {
    /// Whether a configuration limits anything that has to be looked at.
    pub(super) fn is_wanted(config: &Config) -> bool {
        let limits = |limits: &ListenerLimits| {
            limits.min_speed.is_some()
                || limits.stalled_timeout.is_some()
                || limits.websocket.is_bounded()
                || limits.sse.is_bounded()
                || limits.tcp.is_bounded()
        };
        let any = config.listeners.iter().any(|l| limits(&l.edge.limits));
        any || config.limits.max_held_bytes.is_some()
    }

    /// Called a few times a second.
    pub(super) fn look(&self, plan: &Plan, pump: &Pump, connections: &Connections) {
        let is_due = |last: Instant| last.elapsed() >= EVERY;
        if !plan.wants_upkeep || !self.last.get().is_none_or(is_due) {
            return;
        }
        self.last.set(Some(Instant::now()));
        let config = &plan.config;
        let none = ListenerLimits::default();
        let limits = |listener: ListenerIndex| {
            let served = plan.at(listener);
            served.map_or(&none, |served| &served.settings.edge.limits)
        };
        let close_timeout = config.drain.close_timeout;
        pump.upkeep(limits, close_timeout);
        connections.upkeep(limits, close_timeout, || pump.breathe());
        if let Some(most) = config.limits.max_held_bytes {
            let held = pump.held() + connections.held();
            let over = held.saturating_sub(most);
            if over > 0 {
                free(over, pump, connections);
            }
        }
    }
}

/// Ends those that have not read for the longest, until so much is free.
fn free(over: u64, pump: &Pump, connections: &Connections) {
    let relayed = pump.stalled().into_iter();
    let mut stalled: Vec<_> = relayed
        .map(|stalled| (stalled.id, stalled.since, stalled.held))
        .chain(connections.stalled())
        .collect();
    stalled.sort_by_key(|(_, since, _)| std::cmp::Reverse(*since));
    let mut freed = 0;
    for (id, _, held) in stalled {
        if freed >= over {
            return;
        }
        freed += held;
        match id.home() {
            Home::Pump => pump.disconnect(id, Refusal::HeldBytes),
            Home::Http => connections.disconnect(id, Refusal::HeldBytes),
        }
    }
}
