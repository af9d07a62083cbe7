//! A worker: one core's runtime, with its pump, its connections, its way to the agents.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Goodbye, Protocol, ProxyOut};
use crate::http::{Accepted, Agent, Arrival, Connections, Site};
use crate::net::proxy_protocol::Proxied;
use crate::net::tls::Handshakes;
use crate::net::{Endpoints, Tasks};
use crate::relay::{Pump, Speech, Tunnel};
use crate::session::{
    Connected, Home, Ledger, ListenerIndex, Order, Page, Phase, PhaseView, Refusal, SessionId,
    Terms, Ticket,
};

use super::acceptor::Acceptor;
use super::client::Client;
use super::door::Door;
use super::doors::Opening;
use super::peers;
use super::plan::{Plan, Served};
use super::upkeep::Upkeep;
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
    upkeep: Upkeep,
    plan: watch::Receiver<Arc<Plan>>,
    /// By listener's place in the roster.
    places: Vec<Option<Rc<Place>>>,
    /// Those of places that a reload has changed, as long as sessions use them.
    former: Vec<Weak<Agent>>,
}

/// A listener as this worker serves it.
struct Place {
    served: Arc<Served>,
    door: Door,
    pump: Pump,
    tasks: Tasks,
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
        mut openings,
        ready,
    } = birth;
    let (pump, drive) = Pump::new(index)?;
    let mut view = shared.phase.clone();
    let mut worker = Worker {
        ledger: Arc::clone(shared.ledgers.of(index)),
        pump,
        connections: Connections::new(index),
        tasks: Tasks::new(),
        plan: shared.plan.clone(),
        places: Vec::new(),
        former: Vec::new(),
        upkeep: Upkeep::default(),
        shared,
    };
    worker.catch_up();
    worker.note_phase(&view.borrow_and_update());
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
                Some(opening) = openings.recv() => worker.accept_for(opening),
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
    /// Makes a place of every listener that is new or has changed. The place of one that is served
    /// no more stays, for those who are still on their way to it.
    fn adopt(&mut self, plan: &Plan) {
        for (listener, served) in plan.served() {
            let at = usize::from(listener.0);
            if self.places.len() <= at {
                self.places.resize_with(at + 1, || None);
            }
            let same = |place: &Rc<Place>| Arc::ptr_eq(&place.served, served);
            if self.places[at].as_ref().is_some_and(same) {
                continue;
            }
            let place = self.place(listener, served);
            if let Some(before) = self.places[at].replace(Rc::new(place)) {
                let agents = [Some(Rc::clone(&before.agent)), before.peer.clone()];
                self.former
                    .extend(agents.iter().flatten().map(Rc::downgrade));
            }
        }
        self.note_phase(&self.shared.phase.borrow());
    }

    fn place(&self, listener: ListenerIndex, served: &Arc<Served>) -> Place {
        let Served {
            settings, upstream, ..
        } = &**served;
        let tells = self.ledger.has_records();
        let agent = |endpoints: &Arc<Endpoints>| {
            let (endpoints, tasks) = (Arc::clone(endpoints), self.tasks.clone());
            Rc::new(Agent::new(upstream, endpoints, tasks).telling(tells))
        };
        let (agent, peer) = (agent(&served.agent), served.peer.as_ref().map(agent));
        let goodbye = Rc::new(settings.goodbye.clone());
        let phase = Rc::new(Cell::new(Phase::Starting));
        let health = Arc::clone(&self.shared.health);
        let tls = served.tls.as_ref();
        let tls = tls.map(|tls| Handshakes::new(Arc::clone(tls)));
        let site = (settings.protocol == Protocol::Http).then(|| {
            Rc::new(Site {
                listener,
                settings: settings.http.clone(),
                late: served.late,
                sse_retry: served.sse_retry,
                goodbye: Rc::clone(&goodbye),
                agent: Rc::clone(&agent),
                peer: peer.clone(),
                pump: self.pump.clone(),
                connections: self.connections.clone(),
                phase: Rc::clone(&phase),
                ledger: Arc::clone(&self.ledger),
                health: Some(Arc::new(move || health(listener))),
                tls: tls.clone(),
                tasks: self.tasks.clone(),
                close_timeout: served.close_timeout,
                limits: Rc::new(settings.edge.limits.clone()),
                limiter: served.limiter.clone(),
            })
        });
        let door = Door {
            listener,
            edge: settings.edge.clone(),
            ledger: Arc::clone(&self.ledger),
            limiter: served.limiter.clone(),
        };
        Place {
            served: Arc::clone(served),
            door,
            pump: self.pump.clone(),
            tasks: self.tasks.clone(),
            phase,
            agent,
            peer,
            site,
            tls,
            goodbye,
        }
    }

    fn note_phase(&self, view: &PhaseView) {
        for (index, place) in (0..).map(ListenerIndex).zip(&self.places) {
            if let Some(place) = place {
                place.phase.set(view.of(index));
            }
        }
    }

    /// Adopts the plan that holds, if it is not known yet.
    fn catch_up(&mut self) {
        if self.places.is_empty() || self.plan.has_changed().unwrap_or(false) {
            let plan = Arc::clone(&self.plan.borrow_and_update());
            self.adopt(&plan);
        }
    }

    fn accept_for(&self, opening: Opening) {
        let Opening {
            listener,
            addr,
            bound,
            stop,
        } = opening;
        let acceptor = Acceptor::new(self.shared.clone(), listener, addr);
        self.tasks.spawn(acceptor.run(bound, stop));
    }

    /// Takes a connection that was handed to this worker.
    fn take(&mut self, handed: Handed) {
        // Whoever accepted it may have known of a listener before this worker has.
        self.catch_up();
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
        let Some(Some(place)) = self.places.get(usize::from(listener.0)) else {
            return;
        };
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
        self.shared.plan.borrow().most.div_ceil(workers) + TOLD_OF_OVERLOAD.div_ceil(workers)
    }

    fn sweep(&mut self) {
        self.catch_up();
        self.connections.sweep(|listener| {
            let place = self.places.get(usize::from(listener.0));
            let place = place.and_then(Option::as_ref)?;
            let http = &place.served.settings.http;
            Some((http.header_timeout, http.idle_timeout))
        });
        let (plan, pump) = (Arc::clone(&self.plan.borrow()), &self.pump);
        self.upkeep.look(&plan, pump, &self.connections);
        for place in self.places.iter().flatten() {
            for agent in [&place.agent].into_iter().chain(&place.peer) {
                agent.sweep();
            }
        }
        self.former
            .retain(|agent| agent.upgrade().inspect(|agent| agent.sweep()).is_some());
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
            return self.tasks.spawn(Client::Plain(socket).turn_away(connected));
        }
        let Ok(ticket) = self.door.session(client) else {
            return self.tasks.spawn(Client::Plain(socket).turn_away(connected));
        };
        let late = arrival == Arrival::Late;
        let way = Way {
            pump: self.pump.clone(),
            goodbye: Rc::clone(&self.goodbye),
            agent: Rc::clone(&self.agent),
            peer: self.peer.clone().filter(|_| late),
            tls: self.tls.clone(),
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
        let key = agent.dialer().address_key(client_addr.ip());
        let upstream = match agent.dialer().dial(key, self.proxied.as_deref()).await {
            Ok((upstream, _))
                if self.peer.is_some() && peers::passes_back(&upstream, self.from) =>
            {
                None
            }
            Ok((upstream, seat)) => Some((upstream.into_parts(), seat)),
            Err(e) => {
                tracing::debug!(client.addr = %client_addr, error = %e, "no agent");
                None
            }
        };
        let Some((upstream, seat)) = upstream else {
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
            seat,
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
