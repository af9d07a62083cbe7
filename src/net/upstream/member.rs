//! One endpoint of an upstream: an address, and what is known of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::Endpoint;
use crate::session::EndpointId;

use super::hash::hash_of;
use crate::net::Tick;

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A unix socket of this machine.
    Unix(PathBuf),
}

impl Address {
    /// The address that a configured endpoint is; none for a name, which has to be looked up.
    pub(super) fn of(endpoint: &Endpoint) -> Option<Address> {
        match endpoint.unix_path() {
            Some(path) => Some(Address::Unix(path.to_owned())),
            None => endpoint.0.parse().ok().map(Address::Tcp),
        }
    }

    /// What metrics, logs and the API call it.
    pub(super) fn label(&self) -> Endpoint {
        match self {
            Address::Tcp(addr) => Endpoint(addr.to_string().into()),
            Address::Unix(path) => Endpoint(format!("unix:{}", path.display()).into()),
        }
    }
}

/// Nothing has been tried yet.
const UNKNOWN: u8 = 0;
/// The last attempt went wrong.
const LOST: u8 = 1;
/// The last attempt went well.
const WELL: u8 = 2;

/// One endpoint, shared by all workers.
#[derive(Debug)]
pub struct Member {
    id: EndpointId,
    label: Endpoint,
    address: Address,
    /// What it is called in the configuration, without the port.
    host: Arc<str>,
    /// Its own part of what decides where a client's sessions go.
    pub(super) hash: u64,
    health: AtomicU8,
    /// Checks in a row that say otherwise than the health.
    contrary: AtomicU16,
    /// Sessions and requests that are on it, or on their way to it.
    sessions: AtomicUsize,
    /// Failures in a row.
    pub(super) failures: AtomicU16,
    /// The tick until which it is passed over; zero if it never was.
    pub(super) ejected_until: AtomicU64,
    /// For how many milliseconds that was.
    pub(super) ejected_for: AtomicU64,
    pub(super) ejections: AtomicU64,
    /// The tick from which its share grows; zero if it is not new.
    pub(super) fresh_since: AtomicU64,
    is_drained: AtomicBool,
    is_gone: AtomicBool,
    /// Whether a check of it is under way.
    pub(super) is_asked: AtomicBool,
}

impl Member {
    pub(super) fn new(id: EndpointId, address: Address, host: &str, is_late: bool) -> Member {
        let label = address.label();
        let fresh_since = if is_late { Tick::now().as_millis() } else { 0 };
        Member {
            id,
            hash: hash_of(label.0.as_bytes()),
            label,
            address,
            host: host.into(),
            health: AtomicU8::new(UNKNOWN),
            contrary: AtomicU16::new(0),
            sessions: AtomicUsize::new(0),
            failures: AtomicU16::new(0),
            ejected_until: AtomicU64::new(0),
            ejected_for: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            fresh_since: AtomicU64::new(fresh_since),
            is_drained: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
        }
    }

    /// Which it is.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// What metrics, logs and the API call it.
    pub fn label(&self) -> &Endpoint {
        &self.label
    }

    /// Its host, as the configuration has it: whom a certificate has to be for.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is known to be on this machine, and reached over TCP.
    pub fn is_near(&self) -> bool {
        matches!(self.address, Address::Tcp(addr) if addr.ip().is_loopback())
    }

    /// Sessions and requests that are on it, or on their way to it.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::SeqCst)
    }

    /// How often it was passed over for its failures.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Whether the last that is known of it is good.
    pub fn is_well(&self) -> bool {
        self.health.load(Ordering::Relaxed) == WELL
    }

    /// Whether it is passed over for its failures.
    pub fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && Tick::now().as_millis() < until
    }

    /// Whether it is drained, or being drained, alone.
    pub fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::SeqCst)
    }

    /// Whether its upstream has it no more: its name has other addresses now.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Whether it has to be known though it is gone: its sessions are still shown and can be asked
    /// to go, and one that is drained stays so if it comes back.
    pub(super) fn is_kept(&self) -> bool {
        self.sessions() > 0 || self.is_drained()
    }

    /// Whether new sessions may go to it.
    pub fn takes_sessions(&self) -> bool {
        !self.is_drained() && !self.is_gone()
    }

    pub(super) fn set_drained(&self, is_drained: bool) {
        let before = self.is_drained.swap(is_drained, Ordering::SeqCst);
        if before && !is_drained {
            self.begin_slowly();
        }
    }

    pub(super) fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn come_back(&self) {
        self.is_gone.store(false, Ordering::Relaxed);
        self.begin_slowly();
    }

    /// Its share grows from now on.
    pub(super) fn begin_slowly(&self) {
        let now = Tick::now().as_millis();
        self.fresh_since.store(now, Ordering::Relaxed);
    }

    /// The part of a full share that it has, above 0.0 and up to 1.0.
    pub(super) fn weight(&self, slow_start: Duration) -> f64 {
        /// The least: with nothing at all it would never be tried.
        const LEAST: f64 = 0.05;
        let since = self.fresh_since.load(Ordering::Relaxed);
        if since == 0 || slow_start.is_zero() {
            return 1.0;
        }
        // What returns from an ejection is new from the end of it on.
        let begun = since.max(self.ejected_until.load(Ordering::Relaxed));
        let age = Tick::now().since(Tick::from_millis(begun));
        (age.as_secs_f64() / slow_start.as_secs_f64()).clamp(LEAST, 1.0)
    }

    /// Notes how an attempt to reach it went; true if that is news. Where it is asked how it is, an
    /// attempt that goes well says no more than that somebody listens.
    pub(super) fn note_reached(&self, reached: bool, is_checked: bool) -> bool {
        let health = if reached { WELL } else { LOST };
        if reached && is_checked && self.health.load(Ordering::Relaxed) == LOST {
            return false;
        }
        if !reached {
            self.contrary.store(0, Ordering::Relaxed);
        }
        self.turn(health)
    }

    /// Notes the answer to a check; true if that is news. The first decides alone.
    pub(super) fn note_checked(&self, good: bool, rise: u16, fall: u16) -> bool {
        let now = self.health.load(Ordering::Relaxed);
        let health = if good { WELL } else { LOST };
        if now == health {
            self.contrary.store(0, Ordering::Relaxed);
            return false;
        }
        let seen = self.contrary.fetch_add(1, Ordering::Relaxed) + 1;
        let needed = if good { rise } else { fall };
        if now != UNKNOWN && seen < needed {
            return false;
        }
        self.contrary.store(0, Ordering::Relaxed);
        self.turn(health)
    }

    fn turn(&self, health: u8) -> bool {
        if self.health.load(Ordering::Relaxed) == health {
            return false;
        }
        let before = self.health.swap(health, Ordering::Relaxed);
        if before == LOST && health == WELL {
            self.begin_slowly();
        }
        before != health
    }
}

/// A session's place on an endpoint, counted for as long as it lives.
#[derive(Debug)]
pub struct Seat(Arc<Member>);

impl Seat {
    /// Takes a place; none if the endpoint has begun to drain meanwhile. Who drains it sets that
    /// first and counts after, so that either it sees this place, or this sees it.
    pub(super) fn take(member: &Arc<Member>) -> Option<Seat> {
        member.sessions.fetch_add(1, Ordering::SeqCst);
        let seat = Seat(Arc::clone(member));
        (!member.is_drained()).then_some(seat)
    }

    /// The endpoint.
    pub fn member(&self) -> &Arc<Member> {
        &self.0
    }

    /// Which endpoint.
    pub fn id(&self) -> EndpointId {
        self.0.id
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}
