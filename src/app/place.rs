//! A listener as one worker serves it: the way of a connection from the door to its session.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Goodbye, Protocol, ProxyOut, Route};
use crate::http::{Accepted, Agent, Arrival, Front};
use crate::net::Tasks;
use crate::net::proxy_protocol::Proxied;
use crate::net::tls::Handshakes;
use crate::relay::{Pump, Speech, Tunnel};
use crate::session::{Connected, Phase, Refusal, Ticket};

use super::client::Client;
use super::door::Door;
use super::hello::{self, Hello};
use super::peers;
use super::plan::Served;

/// A listener as this worker serves it.
pub(super) struct Place {
    pub(super) served: Arc<Served>,
    pub(super) door: Door,
    pub(super) pump: Pump,
    pub(super) tasks: Tasks,
    pub(super) phase: Rc<Cell<Phase>>,
    pub(super) agent: Rc<Agent>,
    /// The agents of those who go elsewhere.
    pub(super) routes: Vec<(Route, Rc<Agent>)>,
    pub(super) peer: Option<Rc<Agent>>,
    /// None for raw TCP.
    pub(super) front: Option<Front>,
    pub(super) tls: Option<Handshakes>,
    pub(super) goodbye: Rc<Goodbye>,
}

/// A connection on its way through the door.
pub(super) struct Arrived {
    pub(super) socket: std::net::TcpStream,
    /// The other end of the socket, which may be a balancer's.
    pub(super) from: SocketAddr,
    /// Whose it is, as a balancer said.
    pub(super) proxied: Option<Box<Proxied>>,
    pub(super) connected: Connected,
    pub(super) arrival: Arrival,
}

impl Arrived {
    fn client(&self) -> SocketAddr {
        self.proxied.as_ref().map_or(self.from, |it| it.client)
    }
}

impl Place {
    /// Everybody that its sessions may go to.
    pub(super) fn agents(&self) -> impl Iterator<Item = &Rc<Agent>> {
        let routes = self.routes.iter().map(|(_, agent)| agent);
        routes.chain([&self.agent]).chain(&self.peer)
    }

    /// Where a session goes that asks for this host, whose path is not seen.
    fn agent_of(&self, host: &str) -> &Rc<Agent> {
        let mut routes = self.routes.iter();
        let found = routes.find(|(route, _)| route.takes(host, "/"));
        found.map_or(&self.agent, |(_, agent)| agent)
    }

    /// Asks the balancer whose connection it is, and serves it.
    pub(super) async fn ask(self: Rc<Self>, mut arrived: Arrived) {
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
        let is_told = |agent: &Rc<Agent>| agent.proxy_protocol() != ProxyOut::Off;
        if !self.agents().any(is_told) {
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
    pub(super) fn serve(self: &Rc<Self>, mut arrived: Arrived) {
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
        if let Some(front) = &self.front {
            let accepted = Accepted {
                socket,
                client,
                connected,
                proxied,
                arrival,
            };
            return self.tasks.spawn(front.clone().serve(accepted));
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
        let way = Way {
            place: Rc::clone(self),
            from,
            proxied,
            ticket,
            is_late: arrival == Arrival::Late,
        };
        self.tasks.spawn(way.relay(socket, client, connected));
    }
}

/// The way of a raw TCP connection.
struct Way {
    place: Rc<Place>,
    /// The other end of the client's socket.
    from: SocketAddr,
    /// What the agent is told of the client, if it is.
    proxied: Option<Box<Proxied>>,
    ticket: Option<Box<Ticket>>,
    /// Whether it came after the lame duck stretch.
    is_late: bool,
}

/// A client that has said what it has to, before it is relayed.
struct Greeted<'p> {
    client: Client,
    /// What was read of it already.
    early: Bytes,
    /// Where it goes.
    agent: &'p Rc<Agent>,
}

impl Way {
    /// Shakes hands, or hears which server is wanted, where that has to be. None if nothing came of
    /// it, which is counted.
    async fn greet(
        &self,
        socket: std::net::TcpStream,
        client_addr: SocketAddr,
        connected: &Connected,
    ) -> Option<Greeted<'_>> {
        let refuse = |error: &dyn std::fmt::Display, why: Option<Refusal>| {
            tracing::debug!(client.addr = %client_addr, %error, "no TLS");
            if let Some(why) = why {
                connected.ledger().refused(connected.listener(), why);
            }
        };
        let place = &*self.place;
        if place.served.settings.protocol == Protocol::TlsPassthrough {
            let hello = hello::read(socket).await;
            let hello = hello.inspect_err(|error| refuse(error, error.refusal()));
            let Hello {
                socket,
                bytes,
                name,
            } = hello.ok()?;
            return Some(Greeted {
                client: Client::Plain(socket),
                early: bytes.into(),
                agent: place.agent_of(name.as_deref().unwrap_or_default()),
            });
        }
        let client = Client::greet(socket, place.tls.as_ref()).await;
        match client {
            Ok(client) => Some(Greeted {
                client,
                early: Bytes::new(),
                agent: &place.agent,
            }),
            Err(broken) => {
                refuse(&broken.why, broken.why.refusal());
                broken.close().await;
                None
            }
        }
    }

    async fn relay(
        self,
        socket: std::net::TcpStream,
        client_addr: SocketAddr,
        connected: Connected,
    ) {
        let place = &self.place;
        let Some(greeted) = self.greet(socket, client_addr, &connected).await else {
            return;
        };
        let Greeted {
            client,
            early,
            agent,
        } = greeted;
        let peer = place.peer.as_ref().filter(|_| self.is_late);
        let (agent, why) = match peer {
            Some(peer) => (peer, Refusal::Draining),
            None => (agent, Refusal::Upstream),
        };
        let key = agent.dialer().address_key(client_addr.ip());
        let upstream = match agent.dialer().dial(key, self.proxied.as_deref()).await {
            Ok((upstream, _)) if peer.is_some() && peers::passes_back(&upstream, self.from) => None,
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
            to_upstream: early,
            to_client: Default::default(),
            speech: Speech::Bytes,
            goodbye: Rc::clone(&place.goodbye),
            connected,
            counted: None,
            client_addr,
            client_key: None,
            ticket: self.ticket,
            max_message: None,
        };
        if let Err(e) = place.pump.open(tunnel) {
            tracing::warn!(error = %e, "a connection could not be watched");
        }
    }
}
