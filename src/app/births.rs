//! The workers before they live: what each is born with, and the ways to them.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::session::{Ledgers, Order, PhaseView, WorkerIndex};

use super::doors::Doors;
use super::plan::Plan;
use super::wiring::{Birth, HealthOn, Shared};

/// [`Shared`], but for what is made together with the workers.
pub(super) struct SharedSeed {
    pub(super) ledgers: Ledgers,
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    pub(super) phase: watch::Receiver<PhaseView>,
    pub(super) health: HealthOn,
    pub(super) stop: CancellationToken,
}

/// What the workers are born with, and the ways to them.
pub(super) struct Births {
    pub(super) births: Vec<Birth>,
    /// The word that each is ready.
    pub(super) ready: Vec<oneshot::Receiver<()>>,
    pub(super) doors: Doors,
}

/// Makes them.
pub(super) fn births(seed: SharedSeed, orders: Vec<mpsc::UnboundedReceiver<Order>>) -> Births {
    let count = orders.len();
    let (hand, handed): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
    let (ways, openings): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
    let shared = Shared {
        ledgers: seed.ledgers,
        plan: seed.plan,
        phase: seed.phase,
        hand: hand.into(),
        health: seed.health,
        stop: seed.stop,
    };
    let mut births = Vec::new();
    let mut all_ready = Vec::new();
    let inboxes = orders.into_iter().zip(handed).zip(openings);
    for (index, ((orders, handed), openings)) in (0..).map(WorkerIndex).zip(inboxes) {
        let (ready, is_ready) = oneshot::channel();
        all_ready.push(is_ready);
        births.push(Birth {
            index,
            shared: shared.clone(),
            orders,
            handed,
            openings,
            ready,
        });
    }
    Births {
        births,
        ready: all_ready,
        doors: Doors::new(ways),
    }
}
