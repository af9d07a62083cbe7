//! The server side: one connection from accept to its end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, Request, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tower::{Service, ServiceBuilder, service_fn};

use crate::config::{self, LateArrivals};
use crate::net::proxy_protocol::Proxied;
use crate::net::tls::Handshakes;
use crate::net::{PlainStream, Tarpit, Tasks};
use crate::relay::Pump;
use crate::session::{Connected, Ledger, Limiter, ListenerIndex, Phase, Refusal, Refused};

use super::admission::AdmissionLayer;
use super::client_stream::ClientStream;
use super::conn::{Connections, Told};
use super::fields::Origin;
use super::io::ClientIo;
use super::pool::Agent;
use super::proxy;

/// hyper's own buffers are never larger than this, so that a slow reader costs no more, and no read
/// holds up the others. A piece of 64 KiB, which many send, fits with its head.
pub(super) const BUFFER: usize = 68 * 1024;

/// Answers `health_path`: the status and the body.
pub type HealthAnswer = Arc<dyn Fn() -> (StatusCode, Bytes) + Send + Sync>;

/// One HTTP listener as one worker serves it.
pub struct Site {
    /// Which listener.
    pub listener: ListenerIndex,
    /// Its settings.
    pub settings: config::Http,
    /// What late arrivals meet.
    pub late: LateArrivals,
    /// The longest after which a subscription that a drain ends is taken up again.
    pub sse_retry: Duration,
    /// How upgraded sessions are asked to go.
    pub goodbye: Rc<config::Goodbye>,
    /// The agent behind it.
    pub agent: Rc<Agent>,
    /// The agents of those who go elsewhere.
    pub routes: Vec<(config::Route, Rc<Agent>)>,
    /// The peer that late arrivals are passed to, where they are to be forwarded.
    pub peer: Option<Rc<Agent>>,
    /// Where upgraded sessions go on.
    pub pump: Pump,
    /// The worker's connections.
    pub connections: Connections,
    /// The worker's view of the phase.
    pub phase: Rc<Cell<Phase>>,
    /// The worker's ledger.
    pub ledger: Arc<Ledger>,
    /// What `health_path` answers.
    pub health: Option<HealthAnswer>,
    /// TLS to the clients.
    pub tls: Option<Handshakes>,
    /// Where those wait who were refused.
    pub tarpit: Tarpit,
    /// The worker's tasks.
    pub tasks: Tasks,
    /// How long a close handshake may take.
    pub close_timeout: Duration,
    /// What clients may take.
    pub limits: Rc<config::ListenerLimits>,
    /// Where it is counted what they take, if it is.
    pub limiter: Option<Arc<Limiter>>,
}

/// When a connection came, as far as it matters for what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In good time.
    Welcome,
    /// After the lame duck stretch.
    Late,
    /// While there was no room for it.
    Overload,
    /// From a client that makes too many; it is counted as refused.
    TooMany(Refused),
}

/// A client's connection that was just accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, non-blocking.
    pub socket: TcpStream,
    /// The client's address.
    pub client: SocketAddr,
    /// The connection, as counted.
    pub connected: Connected,
    /// What agents are told of the client, where they are.
    pub proxied: Option<Box<Proxied>>,
    /// When it came.
    pub arrival: Arrival,
}

/// A tower service that is always ready, for hyper: called at once, where the general adapter would
/// move each request into a future that asks first.
struct Ready<S>(RefCell<S>);

impl<S, R> hyper::service::Service<R> for Ready<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        self.0.borrow_mut().call(request)
    }
}

/// How a connection's task ended.
enum End {
    Hyper(hyper::Result<()>),
    Cut,
    Left,
}

/// What a listener's connections are served by, the latest: one that outlives a reload goes by what
/// holds at each of its requests.
#[derive(Clone)]
pub struct Front(Rc<Latest>);

struct Latest {
    site: RefCell<Rc<Site>>,
    /// Where the last connection came from: those of a balancer come from few addresses.
    origin: RefCell<Option<Rc<Origin>>>,
}

impl Front {
    /// A front with its first site.
    pub fn new(site: Site) -> Front {
        Front(Rc::new(Latest {
            site: RefCell::new(Rc::new(site)),
            origin: RefCell::default(),
        }))
    }

    /// Puts another in its place.
    pub fn replace(&self, site: Site) {
        self.0.site.replace(Rc::new(site));
    }

    /// What holds now.
    pub(super) fn site(&self) -> Rc<Site> {
        Rc::clone(&self.0.site.borrow())
    }

    /// Where a connection comes from.
    fn origin(&self, client: IpAddr, scheme: &'static str, subject: Option<&str>) -> Rc<Origin> {
        let mut last = self.0.origin.borrow_mut();
        match &*last {
            Some(last) if subject.is_none() && last.is_of(client, scheme) => Rc::clone(last),
            _ => Rc::clone(last.insert(Rc::new(Origin::new(client, scheme, subject)))),
        }
    }
}

impl Site {
    /// The header by which the agent learns whose certificate a client has shown.
    pub(super) fn subject_header(&self) -> Option<&HeaderName> {
        self.tls.as_ref()?.settings().client_subject_header.as_ref()
    }

    /// The agent that a request goes to: that of the first route which takes it.
    pub(super) fn agent_of<B>(&self, request: &Request<B>) -> &Rc<Agent> {
        if self.routes.is_empty() {
            return &self.agent;
        }
        let host = request.headers().get(HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let path = request.uri().path();
        let mut routes = self.routes.iter();
        let found = routes.find(|(route, _)| route.takes(host, path));
        found.map_or(&self.agent, |(_, agent)| agent)
    }

    /// The largest WebSocket message, if there is one, and how long its close handshake may take.
    pub(super) fn max_message(&self) -> Option<(u64, Duration)> {
        let most = self.limits.max_websocket_message?;
        Some((most, self.close_timeout))
    }
}

impl Front {
    /// Serves a connection to its end, or to its upgrade.
    pub async fn serve(self, accepted: Accepted) {
        let site = self.site();
        let stream = match &site.tls {
            None => ClientStream::Plain(PlainStream::new(accepted.socket)),
            Some(handshakes) => match handshakes.shake(accepted.socket).await {
                Ok(stream) => ClientStream::Tls(stream),
                Err(e) => {
                    tracing::debug!(client.addr = %accepted.client, error = %e.why, "no TLS");
                    if let Some(why) = e.why.refusal() {
                        site.ledger.refused(site.listener, why);
                    }
                    return e.close().await;
                }
            },
        };
        let scheme = stream.scheme();
        let subject = site.subject_header().and_then(|_| stream.subject());
        let origin = self.origin(accepted.client.ip(), scheme, subject.as_deref());
        let seat = site
            .connections
            .seat(accepted.connected, accepted.client, accepted.proxied);
        let conn = Rc::clone(&seat.conn);
        let ledger = Arc::clone(&site.ledger);
        let (wire, tarpit) = (Arc::clone(&conn.wire), site.tarpit.clone());
        let io = ClientIo::new(
            stream,
            wire,
            ledger,
            site.listener,
            tarpit,
            site.pump.clone(),
        );
        let layer = AdmissionLayer {
            front: self.clone(),
            conn: Rc::clone(&conn),
            arrival: accepted.arrival,
        };
        let forward = {
            let (front, conn) = (self.clone(), Rc::clone(&conn));
            service_fn(move |request| {
                proxy::forward(front.site(), Rc::clone(&conn), Rc::clone(&origin), request)
            })
        };
        let service = Ready(RefCell::new(
            ServiceBuilder::new().layer(layer).service(forward),
        ));
        let mut connection = http1::Builder::new()
            // A client may end its side behind a request, and still wants the answer.
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(site.settings.max_header_bytes)
            .max_buf_size(BUFFER.max(site.settings.max_header_bytes))
            .max_headers(site.settings.max_headers)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(io), service);
        // Later requests go by what holds then.
        let (ledger, listener) = (Arc::clone(&site.ledger), site.listener);
        drop(site);
        let mut leaving = false;
        let end = poll_fn(|cx| {
            conn.listen(cx);
            if conn.told() == Some(Told::Cut) {
                return Poll::Ready(End::Cut);
            }
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(End::Hyper(result));
            }
            conn.settle();
            if conn.wire.is_gone() && conn.kind().is_some() {
                return Poll::Ready(End::Left);
            }
            if conn.told() == Some(Told::Leave) && !leaving {
                // What had arrived was read just now, so an idle connection is truly idle.
                leaving = true;
                Pin::new(&mut connection).graceful_shutdown();
                if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                    return Poll::Ready(End::Hyper(result));
                }
            }
            Poll::Pending
        })
        .await;
        match end {
            End::Hyper(Ok(())) => {
                if let Some(upgrade) = conn.take_upgrade() {
                    let parts = connection.into_parts();
                    let client = parts.io.into_inner().into_stream();
                    let site = self.site();
                    upgrade.go_on(&site, &conn, client, parts.read_buf).await;
                }
                seat.ended_well();
            }
            End::Hyper(Err(e)) => {
                if e.is_parse() && !e.is_incomplete_message() {
                    ledger.refused(listener, Refusal::BadRequest);
                }
                tracing::debug!(client.addr = %accepted.client, error = %e, "connection ended");
            }
            // Dropped without an end: the agent learns that nobody listens any more.
            End::Cut | End::Left => {}
        }
    }
}
