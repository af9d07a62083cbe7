//! What is served: the configuration, and what was made of it that all workers share. A reload makes
//! the next one of it, and leaves as it is what has not changed.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, LateArrivals, Listener, ListenerName, Route, Upstream, UpstreamName};
use crate::net::tls::{TlsListener, TlsListeners};
use crate::net::{Endpoints, Upstreams};
use crate::session::{Limiter, ListenerIndex, Roster};

use super::peers;
use super::tls::Secrets;
use super::upkeep::Upkeep;

/// What is served.
pub(super) struct Plan {
    pub(super) config: Arc<Config>,
    /// By place in the roster; none where nobody is.
    places: Vec<Option<Arc<Served>>>,
    /// The agents, in the order of the configuration.
    agents: Vec<Arc<Endpoints>>,
    /// The most client connections at once.
    pub(super) most: usize,
    /// Whether sessions have to be looked at now and then.
    pub(super) wants_upkeep: bool,
    /// There where something has to be counted over all workers.
    limiter: Option<Arc<Limiter>>,
    /// The index of the next upstream that is new.
    next: u16,
}

/// A listener, with all that it is served by.
pub(super) struct Served {
    pub(super) settings: Listener,
    pub(super) upstream: Upstream,
    /// What late arrivals meet.
    pub(super) late: LateArrivals,
    pub(super) sse_retry: Duration,
    /// How long a close handshake may take.
    pub(super) close_timeout: Duration,
    /// There where something has to be counted over all workers.
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) agent: Arc<Endpoints>,
    /// Who goes elsewhere.
    pub(super) routes: Vec<Routed>,
    /// There where TLS is spoken.
    pub(super) tls: Option<Arc<TlsListener>>,
    /// There is one where late arrivals are forwarded.
    pub(super) peer: Option<Arc<Endpoints>>,
}

/// A route, and where it leads.
pub(super) struct Routed {
    pub(super) route: Route,
    pub(super) upstream: Upstream,
    pub(super) agent: Arc<Endpoints>,
}

impl Served {
    /// Whether a listener with these settings is served as this one is, in this configuration.
    pub(super) fn is_as(&self, settings: &Listener, config: &Config) -> bool {
        let drain = &config.drain;
        let own = (self.late, self.sse_retry, self.close_timeout);
        let same = |upstream: &Upstream| config.upstreams.contains(upstream);
        self.settings == *settings
            && same(&self.upstream)
            && self.routes.iter().all(|routed| same(&routed.upstream))
            && own == (drain.late_arrivals, drain.sse_retry, drain.close_timeout)
    }

    /// Where its sessions go.
    fn agents(&self) -> impl Iterator<Item = &Arc<Endpoints>> {
        let routes = self.routes.iter().map(|routed| &routed.agent);
        routes.chain([&self.agent])
    }
}

impl Plan {
    /// What is served at first.
    pub(super) fn first(
        config: Arc<Config>,
        secrets: Secrets,
        roster: &Roster,
        most: usize,
    ) -> Plan {
        let nothing = Plan {
            config: Arc::clone(&config),
            places: Vec::new(),
            agents: Vec::new(),
            most,
            wants_upkeep: false,
            limiter: None,
            next: 0,
        };
        nothing.next(config, secrets, roster, most)
    }

    /// What is served after a reload. Every listener of `config` has its place already; what could
    /// fail has been done, since endpoints that stay are told here that they do.
    pub(super) fn next(
        &self,
        config: Arc<Config>,
        secrets: Secrets,
        roster: &Roster,
        most: usize,
    ) -> Plan {
        let mut next = self.next;
        let mut take = || {
            let index = next;
            next = next.wrapping_add(1);
            index
        };
        let mut agents = Vec::new();
        for (upstream, tls) in config.upstreams.iter().zip(secrets.upstreams) {
            let mut before = self.config.upstreams.iter().zip(&self.agents);
            let before = before.find(|(before, _)| before.name == upstream.name);
            agents.push(match before {
                Some((before, agent)) if before == upstream => Arc::clone(agent),
                Some((_, agent)) => Arc::new(agent.succeeded_by(upstream).over(tls)),
                None => Arc::new(Endpoints::new(take(), upstream).over(tls)),
            });
        }
        let limiter = Limiter::new(&config, roster, self.limiter.as_deref());
        let mut places = Vec::new();
        for (settings, tls) in config.listeners.iter().zip(secrets.listeners) {
            let place = roster.find(&settings.name.0);
            let of = |name: &UpstreamName| {
                let mut upstreams = config.upstreams.iter().zip(&agents);
                upstreams.find(|(upstream, _)| upstream.name == *name)
            };
            let (Some(place), Some((upstream, agent))) = (place, of(&settings.upstream)) else {
                continue;
            };
            let routes = settings.routes.iter().filter_map(|route| {
                let (upstream, agent) = of(&route.upstream)?;
                Some(Routed {
                    route: route.clone(),
                    upstream: upstream.clone(),
                    agent: Arc::clone(agent),
                })
            });
            let at = usize::from(place.0);
            if places.len() <= at {
                places.resize_with(at + 1, || None);
            }
            places[at] = Some(match self.at(place) {
                // It goes on with its own limiter, which has the counts of all.
                Some(before) if before.is_as(settings, &config) => Arc::clone(before),
                _ => Arc::new(Served {
                    settings: settings.clone(),
                    upstream: upstream.clone(),
                    late: config.drain.late_arrivals,
                    sse_retry: config.drain.sse_retry,
                    close_timeout: config.drain.close_timeout,
                    limiter: limiter.clone(),
                    agent: Arc::clone(agent),
                    routes: routes.collect(),
                    tls: self.tls_for(place, settings, tls),
                    peer: peers::endpoints(take(), settings, upstream).map(Arc::new),
                }),
            });
        }
        Plan {
            wants_upkeep: Upkeep::is_wanted(&config),
            limiter,
            config,
            places,
            agents,
            most,
            next,
        }
    }

    /// The TLS of a listener: what it was before, with its tickets, if its table is the same.
    fn tls_for(
        &self,
        place: ListenerIndex,
        settings: &Listener,
        fresh: Option<Arc<TlsListener>>,
    ) -> Option<Arc<TlsListener>> {
        let speaks_as =
            |before: &Listener| before.tls == settings.tls && before.protocol == settings.protocol;
        match self.at(place) {
            Some(before) if speaks_as(&before.settings) => before.tls.clone(),
            _ => fresh,
        }
    }

    /// Who is at this place.
    pub(super) fn at(&self, listener: ListenerIndex) -> Option<&Arc<Served>> {
        self.places.get(usize::from(listener.0))?.as_ref()
    }

    /// Everybody, by place.
    pub(super) fn served(&self) -> impl Iterator<Item = (ListenerIndex, &Arc<Served>)> {
        let places = (0..).map(ListenerIndex).zip(&self.places);
        places.filter_map(|(index, served)| Some((index, served.as_ref()?)))
    }

    /// The listeners that speak TLS.
    pub(super) fn tls_listeners(&self) -> Vec<(ListenerName, Arc<TlsListener>)> {
        let tls = self.served().filter_map(|(_, served)| {
            let tls = Arc::clone(served.tls.as_ref()?);
            Some((served.settings.name.clone(), tls))
        });
        tls.collect()
    }

    /// Lets everybody else know the upstreams, and the listeners that speak TLS.
    pub(super) fn publish(&self, upstreams: &Upstreams, tls: &TlsListeners) {
        tls.replace(self.tls_listeners());
        let used = |agent: &&Arc<Endpoints>| {
            let mut served = self.served();
            served.any(|(_, served)| served.agents().any(|used| Arc::ptr_eq(used, agent)))
        };
        upstreams.replace(
            self.agents.iter().cloned().collect(),
            self.agents.iter().filter(used).cloned().collect(),
            self.peers().collect(),
        );
    }

    /// The agents, and the peers.
    pub(super) fn upstreams(&self) -> Vec<Arc<Endpoints>> {
        self.agents.iter().cloned().chain(self.peers()).collect()
    }

    fn peers(&self) -> impl Iterator<Item = Arc<Endpoints>> {
        self.served().filter_map(|(_, served)| served.peer.clone())
    }
}
