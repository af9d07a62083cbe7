//! The upstreams of the process as they are now; a reload changes them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::session::EndpointId;

use super::Endpoints;
use super::member::Member;

/// Upstreams, in the order of the configuration.
type List = Arc<[Arc<Endpoints>]>;

/// The upstreams of the process.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    agents: List,
    used: List,
    peers: List,
}

impl Upstreams {
    /// The agents.
    pub fn agents(&self) -> List {
        self.look(|known| Arc::clone(&known.agents))
    }

    /// The agents that a listener leads to: without the others the process can serve.
    pub fn used(&self) -> List {
        self.look(|known| Arc::clone(&known.used))
    }

    /// The agents, and the peers that late arrivals are passed to.
    pub fn all(&self) -> Vec<Arc<Endpoints>> {
        self.look(|known| {
            let all = known.agents.iter().chain(known.peers.iter());
            all.cloned().collect()
        })
    }

    /// The agent that an endpoint belongs to.
    pub fn of(&self, id: EndpointId) -> Option<Arc<Endpoints>> {
        let agents = self.agents();
        let found = agents.iter().find(|agent| agent.index() == id.upstream);
        found.cloned()
    }

    /// An endpoint of an agent.
    pub fn member(&self, id: EndpointId) -> Option<Arc<Member>> {
        self.of(id)?.member(id)
    }

    /// Puts others in their place.
    pub fn replace(&self, agents: List, used: List, peers: List) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known {
            agents,
            used,
            peers,
        };
    }

    fn look<T>(&self, f: impl FnOnce(&Known) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
