//! The layer that every request passes first: it opens the session, or refuses it politely, and
//! says `Connection: close` when the connection should not be used again.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::header::{ACCEPT, CONNECTION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::config::LateArrivals;
use crate::session::{Kind, Refusal};

use super::body::{Never, ResponseBody};
use super::client_key;
use super::conn::Conn;
use super::fields;
use super::gate;
use super::problem::{come_back_later, last, last_problem, too_large, too_late, too_many};
use super::server::{Arrival, Front, Site};

/// Makes [`Admission`].
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    pub(super) front: Front,
    pub(super) conn: Rc<Conn>,
    pub(super) arrival: Arrival,
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission {
            layer: self.clone(),
            inner,
        }
    }
}

/// The layer's service.
#[derive(Clone)]
pub(super) struct Admission<S> {
    layer: AdmissionLayer,
    inner: S,
}

impl<S> Service<Request<Incoming>> for Admission<S>
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Never>,
{
    type Response = Response<ResponseBody>;
    type Error = Never;
    type Future = Admitted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Never>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let AdmissionLayer {
            front,
            conn,
            arrival,
        } = &self.layer;
        let site = &front.site();
        let entrance = Entrance {
            site,
            conn,
            arrival: *arrival,
        };
        let opened = gate::opens(&request);
        let to = entrance.destination(&request);
        let state = match entrance.judge(&request, to) {
            Some(answer) => {
                conn.note_own_answer();
                State::Answered {
                    answer: Some(answer),
                }
            }
            None => {
                if let Some(name) = &site.settings.client_key {
                    client_key::note(&mut conn.key.borrow_mut(), request.headers().get(name));
                }
                conn.open(Kind::Http);
                conn.note_request(&request);
                if to == Some(Destination::Peer) {
                    request.extensions_mut().insert(Destination::Peer);
                }
                State::Passed {
                    future: self.inner.call(request),
                }
            }
        };
        Admitted {
            site: Rc::clone(site),
            conn: Rc::clone(conn),
            opened,
            state,
        }
    }
}

/// Whom a request is passed to. What goes to a peer carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// The agent.
    Agent,
    /// The peer: it came too late to be served here.
    Peer,
}

/// A request's way in, by what holds as it comes.
struct Entrance<'r> {
    site: &'r Site,
    conn: &'r Conn,
    arrival: Arrival,
}

impl Entrance<'_> {
    /// Whom a request is passed to if nothing else is wrong with it; nobody, if it comes too late.
    fn destination(&self, request: &Request<Incoming>) -> Option<Destination> {
        if !self.site.phase.get().refuses() {
            return Some(Destination::Agent);
        }
        let is_new = self.arrival == Arrival::Late || fields::requested_upgrade(request).is_some();
        if !is_new {
            return Some(Destination::Agent);
        }
        match self.site.late {
            LateArrivals::Serve => Some(Destination::Agent),
            LateArrivals::Forward if fields::was_passed_on(request.headers()) => None,
            LateArrivals::Forward => Some(Destination::Peer),
            LateArrivals::Refuse => None,
        }
    }

    /// An answer of our own, or none if the request may pass.
    fn judge(
        &self,
        request: &Request<Incoming>,
        to: Option<Destination>,
    ) -> Option<Response<ResponseBody>> {
        if let (Some(path), Some(health)) = (&self.site.settings.health_path, &self.site.health)
            && request.uri().path() == path
        {
            let (status, body) = health();
            let mut response = Response::new(ResponseBody::whole(body));
            *response.status_mut() = status;
            return Some(response);
        }
        if let Some(fault) = fault(request) {
            self.refuse(Refusal::BadRequest);
            return Some(last_problem(fault.0, fault.1));
        }
        if self.arrival == Arrival::Overload {
            self.refuse(Refusal::Overload);
            return Some(come_back_later(
                "this proxy holds as many connections as it can",
            ));
        }
        if let Some(answer) = self.over_limits(request) {
            return Some(answer);
        }
        if to.is_none() {
            self.refuse(Refusal::Draining);
            return Some(too_late(is_event_source(request), self.site.sse_retry));
        }
        None
    }

    /// Our no to a request that takes more than its client may.
    fn over_limits(&self, request: &Request<Incoming>) -> Option<Response<ResponseBody>> {
        let Site {
            limits, limiter, ..
        } = self.site;
        if let Arrival::TooMany(refused) = self.arrival {
            self.conn.wire.note_refused();
            return Some(last(too_many(refused)));
        }
        if let (Some(most), Some(length)) =
            (limits.max_request_body, request.body().size_hint().exact())
            && length > most
        {
            self.refuse(Refusal::RequestBody);
            return Some(too_large());
        }
        let limiter = limiter.as_ref()?;
        let (listener, client) = (self.site.listener, self.conn.client.ip());
        let counted = limiter.request(listener, client).and_then(|()| {
            self.conn.give_ticket_back();
            limiter.session(listener, client)
        });
        match counted {
            Ok(ticket) => {
                self.conn.hold(ticket);
                None
            }
            Err(refused) => {
                self.refuse(refused.why);
                Some(too_many(refused))
            }
        }
    }

    fn refuse(&self, why: Refusal) {
        // Who comes too late for this one is to go on elsewhere, and has no time to lose.
        if let Refusal::BadRequest | Refusal::RequestBody | Refusal::Overload = why {
            self.conn.wire.note_refused();
        }
        self.site.ledger.refused(self.site.listener, why);
    }
}

/// What makes a request one that must not be passed on.
fn fault(request: &Request<Incoming>) -> Option<(StatusCode, &'static str)> {
    if request.method() == Method::CONNECT {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here"));
    }
    let hosts = request.headers().get_all(HOST).iter().count();
    // RFC 9112 3.2: none at all is a fault of HTTP/1.1, and two always are.
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some((
            StatusCode::BAD_REQUEST,
            "a request has exactly one Host field",
        ));
    }
    None
}

/// Whether a browser's EventSource asks.
pub(super) fn is_event_source<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && fields::has_token(request.headers(), ACCEPT, "text/event-stream")
}

pin_project! {
    /// The answer on its way back.
    pub(super) struct Admitted<F> {
        site: Rc<Site>,
        conn: Rc<Conn>,
        // The client may have spoken another protocol already: nothing behind this request can be
        // read as one.
        opened: bool,
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Answered { answer: Option<Response<ResponseBody>> },
        Passed { #[pin] future: F },
    }
}

impl<F> Future for Admitted<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Never>>,
{
    type Output = Result<Response<ResponseBody>, Never>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.state.project() {
            StateProjection::Answered { answer } => match answer.take() {
                Some(answer) => answer,
                None => return Poll::Pending,
            },
            StateProjection::Passed { future } => match ready!(future.poll(cx)) {
                Ok(response) => response,
                Err(never) => match never {},
            },
        };
        this.conn.note_status(response.status());
        let going =
            this.site.phase.get().says_close() || this.conn.told().is_some() || *this.opened;
        if going && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}
