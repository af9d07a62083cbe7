//! Whether the balancer should send new sessions.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::config;
use crate::net::Upstreams;
use crate::session::{Ledgers, ListenerIndex, Phase, PhaseView};

/// What readiness is made of.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The phase.
    pub phase: watch::Receiver<PhaseView>,
    /// The agents.
    pub upstreams: Upstreams,
    /// The counts.
    pub ledgers: Ledgers,
    /// `[drain]`, as it is now.
    pub drain: watch::Receiver<Arc<config::Drain>>,
}

/// The body of an answer to `/readyz`.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The phase's name.
    pub phase: &'static str,
    /// Open sessions.
    pub open: u64,
    /// Why it is as it is.
    pub reason: String,
    #[serde(skip)]
    /// Whether it is ready.
    pub ready: bool,
}

impl Readiness {
    /// The answer of this moment.
    pub fn now(&self, listener: Option<ListenerIndex>) -> Answer {
        let (phase, looks_away) = {
            let view = self.phase.borrow();
            let phase = listener.map_or(view.phase, |listener| view.of(listener));
            // Where a part is drained, the process is not leaving, and no balancer knows of it.
            let drain = view.drain.as_ref().filter(|_| phase == view.phase);
            (phase, drain.is_some_and(|drain| drain.looks_away))
        };
        let open = self.ledgers.totals().open();
        let (ready, reason) = self.judge(phase, looks_away);
        Answer {
            phase: phase.label(),
            open,
            reason,
            ready,
        }
    }

    fn judge(&self, phase: Phase, looks_away: bool) -> (bool, String) {
        let fails = match self.drain.borrow().readiness {
            config::Readiness::Fail => true,
            config::Readiness::Keep => false,
            config::Readiness::Auto => !looks_away,
        };
        let agents = self.upstreams.used();
        let lost = agents.iter().find(|endpoints| !endpoints.any_healthy());
        match phase {
            Phase::Starting => (false, "starting".to_owned()),
            Phase::Drained => (false, "drained".to_owned()),
            Phase::LameDuck | Phase::Draining | Phase::Closing if fails => {
                (false, "a drain is under way".to_owned())
            }
            _ => match lost {
                Some(endpoints) => {
                    let name = endpoints.name();
                    (
                        false,
                        format!("no endpoint of upstream {name} can be reached"),
                    )
                }
                None => (true, "serving".to_owned()),
            },
        }
    }
}
