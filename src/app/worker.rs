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
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::{Goodbye, Protocol, ProxyOut};
use crate::http::{Accepted, Agent, Arrival, Connections, Site};
use crate::net::Tasks;
use crate::net::proxy_protocol::{Proxied, introduce};
use crate::relay::{Pump, Speech, Tunnel};
use crate::session::{
    Connected, Home, Ledger, ListenerIndex, Order, Page, Phase, PhaseView, Refusal, SessionId,
    Terms, Ticket,
};

use super::acceptor::Acceptor;
use super::door::Door;
use super::peers;
use super::upkeep::Upkeep;
use super::wiring::{Birth, Handed, Shared};

/// How often connections are looked at whose time may be over.
const SWEEP: Duration = Duration::from_millis(250);
/// How long a client that is turned away has to read our FIN.
const LINGER: Duration = Duration::from_secs(1);
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
    upkeep: Upkeep,
    /// By listener.
    places: Vec<Rc<Place>>,
}

/// A listener as this worker serves it.
struct Place {
    door: Door,
    pump: Pump,
    tasks: Tasks,
    phase: Rc<Cell<Phase>>,
    agent: Rc<Agent>,
    peer: Option<Rc<Agent>>,
    /// None for raw TCP.
    site: Option<Rc<Site>>,
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
        upkeep: Upkeep::new(&shared.config),
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
            let tells = self.ledger.has_records();
            let agent = Agent::new(upstream, endpoints, self.tasks.clone());
            let agent = Rc::new(agent.telling(tells));
            let peer = self.shared.peers[i].as_ref().map(|peer| {
                let (peer, tasks) = (Arc::clone(peer), self.tasks.clone());
                Rc::new(Agent::new(upstream, peer, tasks).telling(tells))
            });
            let goodbye = Rc::new(listener.goodbye.clone());
            let phase = Rc::new(Cell::new(Phase::Starting));
            let health = Arc::clone(&self.shared.health);
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
                    tasks: self.tasks.clone(),
                    close_timeout: config.drain.close_timeout,
                    limits: Rc::new(listener.edge.limits.clone()),
                    limiter: self.shared.limiter.clone(),
                })
            });
            let door = Door {
                listener: index,
                edge: listener.edge.clone(),
                ledger: Arc::clone(&self.ledger),
                limiter: self.shared.limiter.clone(),
            };
            self.places.push(Rc::new(Place {
                door,
                pump: self.pump.clone(),
                tasks: self.tasks.clone(),
                phase,
                agent,
                peer,
                site,
                goodbye,
            }));
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
        let arrived = Arrived {
            socket,
            from: client,
            proxied: None,
            connected,
            arrival,
        };
        match place.door.knock(&arrived.socket, client) {
            Err(()) => {}
            Ok(None) => place.serve(arrived),
            Ok(Some(_)) => self.tasks.spawn(Rc::clone(place).ask(arrived)),
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
        let (config, pump) = (&self.shared.config, &self.pump);
        self.upkeep.look(config, pump, &self.connections);
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

/// A connection on its way through the door.
struct Arrived {
    socket: std::net::TcpStream,
    /// The other end of the socket, which may be a balancer's.
    from: SocketAddr,
    /// Whose it is, as a balancer said.
    proxied: Option<Box<Proxied>>,
    connected: Connected,
    arrival: Arrival,
}

impl Arrived {
    fn client(&self) -> SocketAddr {
        self.proxied.as_ref().map_or(self.from, |it| it.client)
    }
}

impl Place {
    /// Asks the balancer whose connection it is, and serves it.
    async fn ask(self: Rc<Self>, mut arrived: Arrived) {
        let Some(proxy) = &self.door.edge.proxy_protocol else {
            return;
        };
        let asked = self.door.ask(proxy, arrived.socket, arrived.from).await;
        let Some((socket, proxied)) = asked else {
            return;
        };
        arrived.socket = socket;
        arrived.proxied = proxied;
        // The answer may have taken its time.
        if arrived.arrival == Arrival::Welcome && self.phase.get().refuses() {
            arrived.arrival = Arrival::Late;
        }
        self.serve(arrived);
    }

    /// What an agent is told of the client, where one is told anything.
    fn introduction(&self, arrived: &Arrived) -> Option<Box<Proxied>> {
        let agents = [&self.agent].into_iter().chain(&self.peer);
        let is_told = |agent: &Rc<Agent>| agent.proxy_protocol() != ProxyOut::Off;
        if !agents.into_iter().any(is_told) {
            return None;
        }
        let own = || {
            let destination = arrived.socket.local_addr().ok()?;
            let ip = destination.ip().to_canonical();
            Some(Box::new(Proxied {
                client: arrived.from,
                destination: SocketAddr::new(ip, destination.port()),
                vpc_endpoint: None,
            }))
        };
        arrived.proxied.clone().or_else(own)
    }

    /// Serves a connection, or turns it away.
    fn serve(&self, mut arrived: Arrived) {
        let client = arrived.client();
        let listener = self.door.listener;
        let counted = self.door.connection(client);
        if let (Err(refused), Arrival::Welcome) = (counted, arrived.arrival) {
            arrived.arrival = Arrival::TooMany(refused);
        }
        let proxied = self.introduction(&arrived);
        let Arrived {
            socket,
            from,
            connected,
            arrival,
            ..
        } = arrived;
        if let Some(site) = &self.site {
            let accepted = Accepted {
                socket,
                client,
                connected,
                proxied,
                arrival,
            };
            return self.tasks.spawn(Rc::clone(site).serve(accepted));
        }
        if arrival == Arrival::Overload {
            self.door.ledger.refused(listener, Refusal::Overload);
        }
        if let Arrival::Overload | Arrival::TooMany(_) = arrival {
            return self.tasks.spawn(turn_away(socket, connected));
        }
        let Ok(ticket) = self.door.session(client) else {
            return self.tasks.spawn(turn_away(socket, connected));
        };
        let late = arrival == Arrival::Late;
        let way = Way {
            pump: self.pump.clone(),
            goodbye: Rc::clone(&self.goodbye),
            agent: Rc::clone(&self.agent),
            peer: self.peer.clone().filter(|_| late),
            from,
            proxied,
            ticket,
        };
        self.tasks.spawn(way.relay(socket, client, connected));
    }
}

/// The way of a raw TCP connection.
struct Way {
    /// The other end of the client's socket.
    from: SocketAddr,
    /// What the agent is told of the client, if it is.
    proxied: Option<Box<Proxied>>,
    ticket: Option<Box<Ticket>>,
    pump: Pump,
    goodbye: Rc<Goodbye>,
    agent: Rc<Agent>,
    /// Set for a late arrival that is to be forwarded.
    peer: Option<Rc<Agent>>,
}

impl Way {
    async fn relay(
        self,
        socket: std::net::TcpStream,
        client_addr: SocketAddr,
        connected: Connected,
    ) {
        let (agent, why) = match &self.peer {
            Some(peer) => (peer, Refusal::Draining),
            None => (&self.agent, Refusal::Upstream),
        };
        let upstream = match agent.dialer().dial().await {
            Ok(upstream) if self.peer.is_some() && peers::passes_back(&upstream, self.from) => None,
            Ok(upstream) => Some(upstream),
            Err(e) => {
                tracing::debug!(client.addr = %client_addr, error = %e, "no agent");
                None
            }
        };
        let upstream = match upstream {
            Some(mut upstream) => {
                let (version, client) = (agent.proxy_protocol(), self.proxied.as_deref());
                let introduced = introduce(&mut upstream, version, client).await;
                introduced.ok().map(|()| upstream.into_raw())
            }
            None => None,
        };
        let Some(upstream) = upstream else {
            connected.ledger().refused(connected.listener(), why);
            return turn_away(socket, connected).await;
        };
        let Ok(upstream) = upstream else { return };
        let tunnel = Tunnel {
            client: socket,
            upstream,
            to_upstream: Default::default(),
            to_client: Default::default(),
            speech: Speech::Bytes,
            goodbye: self.goodbye,
            connected,
            counted: None,
            client_addr,
            client_key: None,
            ticket: self.ticket,
            max_message: None,
        };
        if let Err(e) = self.pump.open(tunnel) {
            tracing::warn!(error = %e, "a connection could not be watched");
        }
    }
}

/// Closes a connection without a reset: a FIN, and then the client's own end is waited for a while.
async fn turn_away(socket: std::net::TcpStream, connected: Connected) {
    let Ok(mut socket) = tokio::net::TcpStream::from_std(socket) else {
        return;
    };
    let goodbye = async {
        tokio::io::AsyncWriteExt::shutdown(&mut socket).await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // A client that does not end its side in time is closed all the same.
    let _ = timeout(LINGER, goodbye).await;
    drop(connected);
}
