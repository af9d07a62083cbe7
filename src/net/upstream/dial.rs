//! Connections to the agent.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Balance, Endpoint, ProxyOut, UpstreamName};
use crate::net::connect::connect;
use crate::net::proxy_protocol::{Proxied, introduce};
use crate::net::{Dialled, Socket};
use crate::session::EndpointId;

use super::Endpoints;
use super::balance::Chooser;
use super::hash::{Key, hash_of_address};
use super::member::{Address, Member, Seat};

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
    /// Its names could not be looked up, or all its endpoints are drained.
    #[error("upstream {upstream}: there is no endpoint that takes new sessions")]
    Nowhere {
        /// The upstream.
        upstream: UpstreamName,
    },
}

impl Endpoints {
    /// Tries those that could not be reached last time. What is well is left alone: a connection
    /// without a word fills the logs of some agents.
    pub async fn probe_unhealthy(&self) {
        for member in self.members() {
            if !member.is_well() {
                let _ = self.reach(&member, None).await;
            }
        }
    }

    /// Notes what an endpoint answered when it was asked how it is.
    pub fn note_check(&self, member: &Member, answer: Result<(), String>) {
        let Some(check) = self.check() else { return };
        if member.note_checked(answer.is_ok(), check.rise, check.fall) {
            let error = answer.err();
            self.tell(member, error.as_deref());
        }
    }

    /// Opens a connection to an endpoint, without a word to who counts failures.
    ///
    /// # Errors
    /// When it cannot be reached, or not in time.
    pub(super) async fn reach(
        &self,
        member: &Member,
        client: Option<&Proxied>,
    ) -> Result<Dialled, DialError> {
        let begun = Instant::now();
        let limit = self.settings.connect_timeout;
        let reached = match timeout_at(begun + limit, self.connect(member, client)).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(source)) => Err(self.unreachable(member, source)),
            Err(_) => Err(DialError::Timeout {
                upstream: self.name().clone(),
                endpoint: member.label().clone(),
                limit,
            }),
        };
        if reached.is_ok() {
            self.seconds.connected(begun.elapsed());
        }
        if member.note_reached(reached.is_ok(), self.check().is_some()) {
            let error = reached.as_ref().err().map(ToString::to_string);
            self.tell(member, error.as_deref());
        }
        reached
    }

    /// Connects to an endpoint, says whose connection it is where the agent wants to hear it, and
    /// shakes hands where it speaks TLS. Without a client, it is our own.
    ///
    /// # Errors
    /// What the system says, or why the handshake failed.
    pub async fn connect(&self, member: &Member, client: Option<&Proxied>) -> io::Result<Dialled> {
        let dialled = match member.address() {
            Address::Tcp(addr) => connect(*addr, &self.settings.edge.tcp).await?,
            Address::Unix(path) => Dialled::Watched(Socket::Unix(UnixStream::connect(path).await?)),
        };
        let version = self.settings.edge.proxy_protocol;
        if version == ProxyOut::Off && self.tls.is_none() {
            return Ok(dialled);
        }
        let mut socket = dialled.watched()?;
        introduce(&mut socket, version, client).await?;
        let socket = match (socket, &self.tls) {
            // Boxed, so that without TLS a dial is as small as it was.
            (Socket::Tcp(socket), Some(tls)) => {
                let secured = Box::pin(tls.connect(member.host(), socket)).await;
                Socket::Tls(secured?)
            }
            (socket, _) => socket,
        };
        Ok(Dialled::Watched(socket))
    }

    fn unreachable(&self, member: &Member, source: io::Error) -> DialError {
        DialError::Unreachable {
            upstream: self.name().clone(),
            endpoint: member.label().clone(),
            source,
        }
    }

    fn tell(&self, member: &Member, error: Option<&str>) {
        let (upstream, endpoint) = (self.name(), member.label());
        match error {
            None => tracing::info!(%upstream, %endpoint, "endpoint reached"),
            Some(error) => {
                tracing::warn!(%upstream, %endpoint, error, "endpoint cannot be reached");
            }
        }
    }
}

/// Opens connections to one upstream, for one worker.
#[derive(Debug)]
pub struct Dialer {
    shared: Arc<Endpoints>,
    seen: RefCell<(u64, Arc<[Arc<Member>]>)>,
    chooser: Chooser,
}

impl Dialer {
    /// A dialer to these endpoints.
    pub fn new(shared: Arc<Endpoints>) -> Dialer {
        let seen = shared.newer_than(u64::MAX).unwrap_or_default();
        Dialer {
            shared,
            seen: RefCell::new(seen),
            chooser: Chooser::new(),
        }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> &Arc<Endpoints> {
        &self.shared
    }

    /// How a session's endpoint is chosen.
    pub fn balance(&self) -> &Balance {
        &self.shared.settings.balance
    }

    /// What a session is hashed on of which only the client's address is known.
    pub fn address_key(&self, client: IpAddr) -> Key {
        match self.balance() {
            Balance::Hash(_) => Some(hash_of_address(client)),
            _ => None,
        }
    }

    /// A place on the best endpoint that was not tried; none if there is no other.
    fn seat(&self, key: Key, tried: &[EndpointId]) -> Option<Seat> {
        let mut seen = self.seen.borrow_mut();
        if let Some(newer) = self.shared.newer_than(seen.0) {
            *seen = newer;
        }
        loop {
            let (how, slowly) = (self.balance(), self.shared.slow_start());
            let member = self.chooser.choose(how, slowly, &seen.1, key, tried)?;
            // One that begins to drain at this moment is not chosen again.
            if let Some(seat) = Seat::take(member) {
                return Some(seat);
            }
        }
    }

    /// A place on the best endpoint that was not tried. Names that were never looked up with success
    /// are looked up now.
    ///
    /// # Errors
    /// When there is no other endpoint that takes sessions.
    pub async fn choose(&self, key: Key, tried: &[EndpointId]) -> Result<Seat, DialError> {
        if let Some(seat) = self.seat(key, tried) {
            return Ok(seat);
        }
        if tried.is_empty() && self.seen.borrow().1.is_empty() {
            // Whatever comes of it is told by the next look.
            let limit = self.shared.settings.connect_timeout;
            let _ = timeout(limit, self.shared.resolve()).await;
        }
        self.seat(key, tried).ok_or_else(|| DialError::Nowhere {
            upstream: self.shared.name().clone(),
        })
    }

    /// Connects to the endpoint of a place.
    ///
    /// # Errors
    /// When it cannot be reached, or not in time.
    pub async fn connect(
        &self,
        seat: &Seat,
        client: Option<&Proxied>,
    ) -> Result<Dialled, DialError> {
        let reached = self.shared.reach(seat.member(), client).await;
        if reached.is_err() {
            self.shared.went_wrong(seat.member());
        }
        reached
    }

    /// What it is when a connection to the endpoint of a place cannot be used.
    pub fn unusable(&self, seat: &Seat, source: io::Error) -> DialError {
        self.shared.unreachable(seat.member(), source)
    }

    /// Connects to the best endpoint that can be reached; those that are known to be down are tried
    /// last.
    ///
    /// # Errors
    /// When none could be reached: the error of the last that was tried.
    pub async fn dial(
        &self,
        key: Key,
        client: Option<&Proxied>,
    ) -> Result<(Dialled, Seat), DialError> {
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            let seat = match self.choose(key, &tried).await {
                Ok(seat) => seat,
                Err(nowhere) => return Err(last.unwrap_or(nowhere)),
            };
            match self.connect(&seat, client).await {
                Ok(socket) => {
                    self.shared.went_well(seat.member());
                    return Ok((socket, seat));
                }
                Err(e) => {
                    tried.push(seat.id());
                    last = Some(e);
                }
            }
        }
    }
}
