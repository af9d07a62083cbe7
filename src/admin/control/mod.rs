//! The control API: watches the drain, starts and cancels it, and keeps the holds.
//!
//! It answers on a socket of its own, on the health thread; no data listener leads here. What it
//! may do is what [`drain::Control`], [`Holds`] and the orders to the workers allow: no state is
//! kept here.

mod body;
mod events;
mod guard;
mod holds;
mod part;
mod problem;
mod rate;
mod reload;
mod report;
mod routes;
mod sessions;
mod status;
mod upstreams;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::drain::{self, Report, Windows};
use crate::net::Upstreams;
use crate::session::{Holds, Ledgers, PhaseView, Roster, Workers};

use super::board::Board;
use super::server::Answers;

pub use holds::HoldView;
pub use rate::Bucket;
pub use reload::{NotReloaded, Reloaded, Reloads, Reply};
pub use sessions::{SessionPage, SessionView, Sort, Ways};
pub use status::{PartStatus, PlatformStatus, Status};
pub use upstreams::{EndpointView, UpstreamView};

/// What the control API answers from.
#[derive(Clone, Debug)]
pub struct Control {
    /// `[admin]`.
    pub settings: config::Admin,
    /// Where it is bound, with the real port.
    pub bound: config::Bind,
    /// `[drain]` as it is now, for the exit code and the time that a session is given.
    pub drain: watch::Receiver<Arc<config::Drain>>,
    /// How long there is for a drain.
    pub windows: Windows,
    /// What is known of the platforms.
    pub board: Board,
    /// The way to the drain.
    pub asks: drain::Control,
    /// The way to whoever reads the configuration anew.
    pub reloads: Reloads,
    /// The report of the last drain.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// The phase.
    pub phase: watch::Receiver<PhaseView>,
    /// The listeners.
    pub roster: Roster,
    /// The agents' endpoints.
    pub upstreams: Upstreams,
    /// The counts.
    pub ledgers: Ledgers,
    /// The ways to the workers.
    pub workers: Workers,
    /// The holds.
    pub holds: Holds,
    /// Since when the process can tell the time.
    pub begun: Instant,
    /// Cancelled when the process leaves.
    pub stop: CancellationToken,
    /// How many event streams there may still be.
    pub streams: Arc<Semaphore>,
    /// How many calls there may still be.
    pub calls: Arc<Mutex<Bucket>>,
}

/// Event streams at once; they last, and must not take the connections of everybody else.
pub const STREAMS: usize = 8;

impl Answers for Control {
    type Body = body::Body;

    const CONNECTIONS: usize = 24;

    const PATIENCE: Duration = Duration::from_secs(15);

    async fn answer(
        &self,
        request: Request<Incoming>,
        local: Option<SocketAddr>,
    ) -> Response<body::Body> {
        match self.route(request, local).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }
}
