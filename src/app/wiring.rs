//! What all threads share, and what each worker is born with.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::http::Arrival;
use crate::session::{Ledgers, ListenerIndex, Order, PhaseView, WorkerIndex};

use super::doors::Opening;
use super::plan::Plan;

/// A connection on its way to its worker.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) socket: TcpStream,
    pub(super) client: SocketAddr,
    pub(super) listener: ListenerIndex,
    pub(super) arrival: Arrival,
}

/// Answers `health_path` on a listener.
pub(super) type HealthOn = Arc<dyn Fn(ListenerIndex) -> (StatusCode, Bytes) + Send + Sync>;

/// What every worker can see.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) ledgers: Ledgers,
    /// What is served; a reload changes it.
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    pub(super) phase: watch::Receiver<PhaseView>,
    /// The ways to hand a connection over, by worker.
    pub(super) hand: Arc<[mpsc::UnboundedSender<Handed>]>,
    pub(super) health: HealthOn,
    pub(super) stop: CancellationToken,
}

/// What one worker is born with.
pub(super) struct Birth {
    pub(super) index: WorkerIndex,
    pub(super) shared: Shared,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) handed: mpsc::UnboundedReceiver<Handed>,
    /// The listeners that this worker accepts for, as they are opened.
    pub(super) openings: mpsc::UnboundedReceiver<Opening>,
    pub(super) ready: oneshot::Sender<()>,
}
