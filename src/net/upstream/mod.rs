//! An upstream: its endpoints, which of them takes a session, and what is known of their health.

mod balance;
mod dial;
mod eject;
mod hash;
mod member;
mod registry;
mod resolve;
mod succession;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{Check, Upstream, UpstreamName};
use crate::net::tls::Tls;
use crate::session::EndpointId;
use crate::session::metrics::ConnectSeconds;

pub use dial::{DialError, Dialer};
pub use hash::{Key, hash_of, hash_of_address};
pub use member::{Address, Member, Seat};
pub use registry::Upstreams;
pub use resolve::{Resolve, System};

/// An upstream's endpoints, shared by all workers.
#[derive(Debug)]
pub struct Endpoints {
    index: u16,
    settings: Upstream,
    resolver: Box<dyn Resolve>,
    /// Counts changes of the members, so that a worker need not take the lock to see that there
    /// was none.
    version: AtomicU64,
    members: Mutex<Members>,
    seconds: ConnectSeconds,
    tls: Option<Tls>,
}

/// An endpoint that is being asked how it is.
#[derive(Debug)]
pub struct Asked(Arc<Member>);

impl Asked {
    /// The endpoint.
    pub fn member(&self) -> &Member {
        &self.0
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.is_asked.store(false, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Members {
    /// Those that take new sessions, as far as they are well.
    list: Arc<[Arc<Member>]>,
    /// Gone from their names, but with sessions on them; or drained, which holds if they come back.
    leaving: Vec<Arc<Member>>,
    /// By configured endpoint, whom it stands for.
    sources: Vec<Vec<EndpointId>>,
    /// By configured endpoint, whether that is known.
    resolved: Vec<bool>,
    next: u32,
}

impl Endpoints {
    /// Endpoints of which nothing is known yet: they count as unhealthy until one is reached.
    /// `index` tells this upstream from the others of the process.
    pub fn new(index: u16, upstream: &Upstream) -> Endpoints {
        Endpoints::with_resolver(index, upstream, Box::new(System))
    }

    /// The same, with names looked up in another way.
    pub fn with_resolver(index: u16, upstream: &Upstream, resolver: Box<dyn Resolve>) -> Endpoints {
        let mut members = Members {
            list: Arc::default(),
            leaving: Vec::new(),
            sources: Vec::new(),
            resolved: Vec::new(),
            next: 0,
        };
        let mut list = Vec::new();
        for endpoint in &upstream.endpoints {
            let address = Address::of(endpoint);
            members.resolved.push(address.is_some());
            let ids = address.map(|address| {
                let member = members.next;
                members.next += 1;
                let id = EndpointId {
                    upstream: index,
                    member,
                };
                let host = endpoint.host();
                list.push(Arc::new(Member::new(id, address, host, false)));
                id
            });
            members.sources.push(ids.into_iter().collect());
        }
        members.list = list.into();
        Endpoints {
            index,
            settings: upstream.clone(),
            resolver,
            version: AtomicU64::new(0),
            members: Mutex::new(members),
            seconds: ConnectSeconds::register(),
            tls: None,
        }
    }

    /// What tells this upstream from the others.
    pub(super) fn index(&self) -> u16 {
        self.index
    }

    /// The same, reached over TLS.
    #[must_use]
    pub fn over(self, tls: Option<Tls>) -> Endpoints {
        Endpoints { tls, ..self }
    }

    /// The upstream's name.
    pub fn name(&self) -> &UpstreamName {
        &self.settings.name
    }

    /// Its endpoints, those that are gone but have sessions on them or are drained included.
    pub fn members(&self) -> Vec<Arc<Member>> {
        let members = self.lock();
        let leaving = members.leaving.iter();
        let leaving = leaving.filter(|member| member.is_kept());
        members.list.iter().chain(leaving).cloned().collect()
    }

    /// One of them.
    pub fn member(&self, id: EndpointId) -> Option<Arc<Member>> {
        self.members().into_iter().find(|member| member.id() == id)
    }

    /// Whether one of them is well and takes sessions.
    pub fn any_healthy(&self) -> bool {
        let members = self.lock();
        let mut list = members.list.iter();
        list.any(|member| member.is_well() && member.takes_sessions())
    }

    /// Has an endpoint take no new sessions, or take them again.
    pub fn set_drained(&self, id: EndpointId, is_drained: bool) {
        if let Some(member) = self.member(id) {
            member.set_drained(is_drained);
        }
    }

    /// How endpoints are asked how they are, if they are.
    pub fn check(&self) -> Option<&Check> {
        self.settings.check.as_ref()
    }

    /// The endpoints that are to be asked, each of which is not asked again before the answer.
    pub fn take_for_check(&self) -> Vec<Asked> {
        let members = self.members().into_iter();
        let free = members.filter(|member| !member.is_asked.swap(true, Ordering::Relaxed));
        free.map(Asked).collect()
    }

    /// How long the shares of new endpoints grow.
    fn slow_start(&self) -> Duration {
        self.settings.slow_start
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The members that may take sessions, if they are others than those of a version.
    fn newer_than(&self, seen: u64) -> Option<(u64, Arc<[Arc<Member>]>)> {
        let version = self.version.load(Ordering::Acquire);
        (version != seen).then(|| (version, Arc::clone(&self.lock().list)))
    }
}
