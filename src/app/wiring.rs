//! What all threads share, and what each worker is born with.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::Arrival;
use crate::net::{Endpoints, TcpBound};
use crate::session::{Ledgers, Limiter, ListenerIndex, Order, PhaseView, WorkerIndex};

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
    pub(super) config: Arc<Config>,
    pub(super) ledgers: Ledgers,
    /// There where something has to be counted over all workers.
    pub(super) limiter: Option<Arc<Limiter>>,
    /// By listener.
    pub(super) endpoints: Arc<[Arc<Endpoints>]>,
    /// By listener; there is a peer where late arrivals are forwarded.
    pub(super) peers: Arc<[Option<Arc<Endpoints>>]>,
    pub(super) phase: watch::Receiver<PhaseView>,
    /// The ways to hand a connection over, by worker.
    pub(super) hand: Arc<[mpsc::UnboundedSender<Handed>]>,
    /// The most client connections at once.
    pub(super) most: usize,
    pub(super) health: HealthOn,
    pub(super) stop: CancellationToken,
}

/// What one worker is born with.
pub(super) struct Birth {
    pub(super) index: WorkerIndex,
    pub(super) shared: Shared,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) handed: mpsc::UnboundedReceiver<Handed>,
    /// The listeners that this worker accepts for.
    pub(super) sockets: Vec<(ListenerIndex, TcpBound)>,
    pub(super) ready: oneshot::Sender<()>,
}
