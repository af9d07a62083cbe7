//! A worker: one core's runtime, with its pump, its connections, its way to the agents.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Goodbye, Protocol};
use crate::http::{Accepted, Agent, Arrival, Connections, Site};
use crate::net::Tasks;
use crate::net::tls::Handshakes;
use crate::relay::{Pump, Speech, Tunnel};
use crate::session::{
    Connected, Home, Ledger, ListenerIndex, Order, Page, Phase, PhaseView, Refusal, SessionId,
    Terms,
};

use super::acceptor::Acceptor;
use super::client::Client;
use super::peers;
use super::wiring::{Birth, Handed, Shared};

/// How often connections are looked at whose time may be over.
const SWEEP: Duration = Duration::from_millis(250);
/// Connections beyond the limit that are still told so; more are closed without a word.
const TOLD_OF_OVERLOAD: usize = 16;

/// Runs a worker until it is told to stop.
///
/// # Errors
/// When the runtime or the pump cannot be made, or the readiness set fails.
pub(super) fn run(birth: Birth) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, work(birth))
}

struct Worker {
    shared: Shared,
    ledger: Arc<Ledger>,
    pump: Pump,
    connections: Connections,
    tasks: Tasks,
    /// By listener.
    places: Vec<Place>,
}

/// A listener as this worker serves it.
struct Place {
    phase: Rc<Cell<Phase>>,
    agent: Rc<Agent>,
    peer: Option<Rc<Agent>>,
    /// None for raw TCP.
    site: Option<Rc<Site>>,
    tls: Option<Handshakes>,
    goodbye: Rc<Goodbye>,
}

async fn work(birth: Birth) -> io::Result<()> {
    let Birth {
        index,
        shared,
        mut orders,
        mut handed,
        sockets,
        ready,
    } = birth;
    let (pump, drive) = Pump::new(index)?;
    let mut view = shared.phase.clone();
    let mut worker = Worker {
        ledger: Arc::clone(shared.ledgers.of(index)),
        pump,
        connections: Connections::new(index),
        tasks: Tasks::new(),
        places: Vec::new(),
        shared,
    };
    worker.build();
    worker.note_phase(&view.borrow_and_update());
    for (listener, socket) in sockets {
        let acceptor = Acceptor::new(worker.shared.clone(), listener, &socket);
        worker.tasks.spawn(acceptor.run(socket));
    }
    let (fail, failed) = oneshot::channel();
    let stop = worker.shared.stop.clone();
    let tasks = worker.tasks.clone();
    // The pump and the inbox are tasks of their own, so that neither is polled for the other's sake.
    tasks.spawn(async move {
        let _ = fail.send(drive.await);
    });
    tasks.spawn(async move {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(order) = orders.recv() => worker.obey(order),
                Some(handed) = handed.recv() => worker.take(handed),
                Ok(()) = view.changed() => worker.note_phase(&view.borrow_and_update()),
                _ = sweep.tick() => worker.sweep(),
            }
        }
    });
    // Whoever waits for this has gone only if the process is ending.
    let _ = ready.send(());
    tokio::select! {
        failed = failed => failed.unwrap_or(Ok(())),
        () = stop.cancelled() => Ok(()),
    }
}

impl Worker {
    /// Makes a place of every listener.
    fn build(&mut self) {
        let config = Arc::clone(&self.shared.config);
        for (i, listener) in config.listeners.iter().enumerate() {
            let index = ListenerIndex(u16::try_from(i).unwrap_or(u16::MAX));
            let upstream = config
                .upstreams
                .iter()
                .find(|u| u.name == listener.upstream);
            let upstream = upstream.expect("a listener's upstream exists in a valid config");
            let endpoints = Arc::clone(&self.shared.endpoints[i]);
            let agent = Rc::new(Agent::new(upstream, endpoints, self.tasks.clone()));
            let peer = self.shared.peers[i].as_ref().map(|peer| {
                let (peer, tasks) = (Arc::clone(peer), self.tasks.clone());
                Rc::new(Agent::new(upstream, peer, tasks))
            });
            let goodbye = Rc::new(listener.goodbye.clone());
            let phase = Rc::new(Cell::new(Phase::Starting));
            let health = Arc::clone(&self.shared.health);
            let tls = self.shared.tls[i].as_ref();
            let tls = tls.map(|tls| Handshakes::new(Arc::clone(tls)));
            let site = (listener.protocol == Protocol::Http).then(|| {
                Rc::new(Site {
                    listener: index,
                    settings: listener.http.clone(),
                    late: config.drain.late_arrivals,
                    sse_retry: config.drain.sse_retry,
                    goodbye: Rc::clone(&goodbye),
                    agent: Rc::clone(&agent),
                    peer: peer.clone(),
                    pump: self.pump.clone(),
                    connections: self.connections.clone(),
                    phase: Rc::clone(&phase),
                    ledger: Arc::clone(&self.ledger),
                    health: Some(Arc::new(move || health(index))),
                    tls: tls.clone(),
                    tasks: self.tasks.clone(),
                })
            });
            self.places.push(Place {
                phase,
                agent,
                peer,
                site,
                tls,
                goodbye,
            });
        }
    }

    fn note_phase(&self, view: &PhaseView) {
        for (index, place) in (0..).map(ListenerIndex).zip(&self.places) {
            place.phase.set(view.of(index));
        }
    }

    /// Takes a connection that was handed to this worker.
    fn take(&self, handed: Handed) {
        let Handed {
            socket,
            client,
            listener,
            arrival,
        } = handed;
        let connected = self.ledger.connected(listener);
        if arrival == Arrival::Overload && self.ledger.load() > self.room() {
            self.ledger.refused(listener, Refusal::Overload);
            return;
        }
        let place = &self.places[usize::from(listener.0)];
        match &place.site {
            Some(site) => {
                let accepted = Accepted {
                    socket,
                    client,
                    connected,
                    arrival,
                };
                self.tasks.spawn(Rc::clone(site).serve(accepted));
            }
            None if arrival == Arrival::Overload => {
                self.ledger.refused(listener, Refusal::Overload);
                self.tasks.spawn(Client::Plain(socket).turn_away(connected));
            }
            None => {
                let late = arrival == Arrival::Late;
                let way = Way {
                    pump: self.pump.clone(),
                    goodbye: Rc::clone(&place.goodbye),
                    agent: Rc::clone(&place.agent),
                    peer: place.peer.clone().filter(|_| late),
                    tls: place.tls.clone(),
                };
                self.tasks.spawn(way.relay(socket, client, connected));
            }
        }
    }

    /// This worker's share of the connections, with those that are told of the overload.
    fn room(&self) -> usize {
        let workers = self.shared.hand.len();
        self.shared.most.div_ceil(workers) + TOLD_OF_OVERLOAD.div_ceil(workers)
    }

    fn sweep(&self) {
        let listeners = &self.shared.config.listeners;
        self.connections.sweep(|listener| {
            let http = &listeners[usize::from(listener.0)].http;
            (http.header_timeout, http.idle_timeout)
        });
        for place in &self.places {
            for agent in [&place.agent].into_iter().chain(&place.peer) {
                agent.sweep();
            }
        }
    }

    fn obey(&self, order: Order) {
        match order {
            Order::List { from, limit, reply } => {
                // Whoever asked and has gone needs no answer.
                let _ = reply.send(self.list(from, limit));
            }
            Order::Leave { ids, terms } => self.leave(&ids, terms),
            Order::Cut { whom, reply } => {
                let mut cut = self.pump.cut(&whom);
                cut.extend(self.connections.cut(&whom));
                let _ = reply.send(cut);
            }
        }
    }

    /// Pages run over the pump's slots first and the connections' after; the lowest bit of a
    /// place says which.
    fn list(&self, from: usize, limit: usize) -> Page {
        let (slot, in_http) = (from >> 1, from & 1 == 1);
        if in_http {
            let mut page = self.connections.list(slot, limit);
            page.next = page.next.map(|slot| slot << 1 | 1);
            return page;
        }
        let mut page = self.pump.list(slot, limit);
        page.next = Some(page.next.map_or(1, |slot| slot << 1));
        page
    }

    fn leave(&self, ids: &[SessionId], terms: Terms) {
        for id in ids {
            match id.home() {
                Home::Pump => self.pump.leave(*id, terms),
                Home::Http => self.connections.leave(*id, terms.until),
            }
        }
    }
}

/// The way of a raw TCP connection.
struct Way {
    pump: Pump,
    goodbye: Rc<Goodbye>,
    agent: Rc<Agent>,
    /// Set for a late arrival that is to be forwarded.
    peer: Option<Rc<Agent>>,
    tls: Option<Handshakes>,
}

impl Way {
    async fn relay(
        self,
        socket: std::net::TcpStream,
        client_addr: SocketAddr,
        connected: Connected,
    ) {
        let client = match Client::greet(socket, self.tls.as_ref()).await {
            Ok(client) => client,
            Err(e) => {
                tracing::debug!(client.addr = %client_addr, error = %e, "no TLS");
                if let Some(why) = e.refusal() {
                    connected.ledger().refused(connected.listener(), why);
                }
                return;
            }
        };
        let (agent, why) = match &self.peer {
            Some(peer) => (peer, Refusal::Draining),
            None => (&self.agent, Refusal::Upstream),
        };
        let upstream = match agent.dialer().dial().await {
            Ok(upstream) if self.peer.is_some() && peers::passes_back(&upstream, client_addr) => {
                None
            }
            Ok(upstream) => Some(upstream.into_parts()),
            Err(e) => {
                tracing::debug!(client.addr = %client_addr, error = %e, "no agent");
                None
            }
        };
        let Some(upstream) = upstream else {
            connected.ledger().refused(connected.listener(), why);
            return client.turn_away(connected).await;
        };
        let (Ok((upstream, upstream_tls)), Ok((client, client_tls))) =
            (upstream, client.into_parts())
        else {
            return;
        };
        let tunnel = Tunnel {
            client,
            client_tls,
            upstream,
            upstream_tls,
            to_upstream: Default::default(),
            to_client: Default::default(),
            speech: Speech::Bytes,
            goodbye: self.goodbye,
            connected,
            counted: None,
            client_addr,
            client_key: None,
        };
        if let Err(e) = self.pump.open(tunnel) {
            tracing::warn!(error = %e, "a connection could not be watched");
        }
    }
}
