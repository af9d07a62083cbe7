//! Connections to the agent, and what is known of its endpoints.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use crate::config::{Endpoint, ProxyOut, TcpOptions, Upstream, UpstreamName};
use crate::session::metrics::EndpointMetrics;

use super::proxy_protocol::introduce;
use super::{Socket, set_options};

/// Why no endpoint could be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The last endpoint that was tried refused, or there is no way to it.
    #[error("upstream {upstream}: cannot connect to {endpoint}: {source}")]
    Unreachable {
        /// The upstream.
        upstream: UpstreamName,
        /// The endpoint tried last.
        endpoint: Endpoint,
        /// What the system says.
        source: io::Error,
    },
    /// The time for connecting ran out.
    #[error("upstream {upstream}: no connection to {endpoint} within {limit:?}")]
    Timeout {
        /// The upstream.
        upstream: UpstreamName,
        /// The endpoint tried last.
        endpoint: Endpoint,
        /// `connect_timeout`.
        limit: Duration,
    },
}

#[derive(Debug)]
struct EndpointState {
    endpoint: Endpoint,
    address: Address,
    health: AtomicU8,
    metrics: EndpointMetrics,
}

/// How an endpoint is reached.
#[derive(Debug)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// To be looked up.
    Name,
}

impl Address {
    fn of(endpoint: &Endpoint) -> Address {
        if let Some(path) = endpoint.unix_path() {
            return Address::Unix(path.to_owned());
        }
        endpoint.0.parse().map_or(Address::Name, Address::Tcp)
    }
}

/// Nothing has been tried yet.
const UNKNOWN: u8 = 0;
/// The last attempt went wrong.
const LOST: u8 = 1;
/// The last attempt went well.
const WELL: u8 = 2;

impl EndpointState {
    fn is_well(&self) -> bool {
        self.health.load(Ordering::Relaxed) == WELL
    }
}

/// An upstream's endpoints and their health, shared by all workers.
#[derive(Debug)]
pub struct Endpoints {
    name: UpstreamName,
    connect_timeout: Duration,
    options: TcpOptions,
    proxy_protocol: ProxyOut,
    endpoints: Vec<EndpointState>,
}

impl Endpoints {
    /// Endpoints of which nothing is known yet: they count as unhealthy until one is reached.
    pub fn new(upstream: &Upstream) -> Endpoints {
        let endpoints = upstream.endpoints.iter().map(|endpoint| {
            let metrics = EndpointMetrics::register(&upstream.name.0, &endpoint.0);
            metrics.healthy(false);
            EndpointState {
                endpoint: endpoint.clone(),
                address: Address::of(endpoint),
                health: AtomicU8::new(UNKNOWN),
                metrics,
            }
        });
        Endpoints {
            name: upstream.name.clone(),
            connect_timeout: upstream.connect_timeout,
            options: upstream.edge.tcp,
            proxy_protocol: upstream.edge.proxy_protocol,
            endpoints: endpoints.collect(),
        }
    }

    /// The upstream's name.
    pub fn name(&self) -> &UpstreamName {
        &self.name
    }

    /// Whether the last attempt to reach one of them went well.
    pub fn any_healthy(&self) -> bool {
        self.endpoints.iter().any(EndpointState::is_well)
    }

    /// Tries those that could not be reached last time. What is well is left alone: a connection
    /// without a word fills the logs of some agents.
    pub async fn probe_unhealthy(&self) {
        for state in &self.endpoints {
            if !state.is_well()
                && let Ok(mut socket) = self.reach(state).await
            {
                // The connection is nobody's. An agent that has gone is no matter here.
                let _ = introduce(&mut socket, self.proxy_protocol, None).await;
            }
        }
    }

    async fn reach(&self, state: &EndpointState) -> Result<Socket, DialError> {
        let begun = Instant::now();
        let connect = async {
            match &state.address {
                Address::Tcp(addr) => TcpStream::connect(addr).await.map(Socket::Tcp),
                Address::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
                Address::Name => {
                    let name = &*state.endpoint.0;
                    TcpStream::connect(name).await.map(Socket::Tcp)
                }
            }
        };
        let reached = match timeout_at(begun + self.connect_timeout, connect).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(source)) => Err(DialError::Unreachable {
                upstream: self.name.clone(),
                endpoint: state.endpoint.clone(),
                source,
            }),
            Err(_) => Err(DialError::Timeout {
                upstream: self.name.clone(),
                endpoint: state.endpoint.clone(),
                limit: self.connect_timeout,
            }),
        };
        if let Ok(socket) = &reached {
            state.metrics.connected(begun.elapsed());
            if let Socket::Tcp(socket) = socket {
                // A socket that was reset meanwhile shows it at the first read.
                let _ = socket.set_nodelay(true);
                set_options(socket, &self.options);
            }
        }
        let health = if reached.is_ok() { WELL } else { LOST };
        if state.health.swap(health, Ordering::Relaxed) != health {
            state.metrics.healthy(health == WELL);
            match &reached {
                Ok(_) => tracing::info!(
                    upstream = %self.name, endpoint = %state.endpoint, "endpoint reached"
                ),
                Err(e) => tracing::warn!(
                    upstream = %self.name, endpoint = %state.endpoint, error = %e, "endpoint cannot be reached"
                ),
            }
        }
        reached
    }
}

/// Opens connections to one upstream, for one worker.
#[derive(Debug)]
pub struct Dialer {
    shared: Arc<Endpoints>,
    next: AtomicUsize,
}

impl Dialer {
    /// A dialer that begins with the first endpoint.
    pub fn new(shared: Arc<Endpoints>) -> Dialer {
        Dialer {
            shared,
            next: AtomicUsize::new(0),
        }
    }

    /// Connects to the next endpoint in turn that can be reached; those that are known to be down
    /// are tried last.
    ///
    /// # Errors
    /// When none could be reached: the error of the last that was tried.
    pub async fn dial(&self) -> Result<Socket, DialError> {
        let all = &self.shared.endpoints;
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = || (0..all.len()).map(|i| &all[(start.wrapping_add(i)) % all.len()]);
        let is_well = |state: &&EndpointState| state.is_well();
        let order: Vec<_> = turn()
            .filter(is_well)
            .chain(turn().filter(|state| !is_well(state)))
            .collect();
        let mut last = None;
        for state in order {
            match self.shared.reach(state).await {
                Ok(socket) => return Ok(socket),
                Err(e) => last = Some(e),
            }
        }
        Err(last.expect("an upstream has at least one endpoint"))
    }
}
