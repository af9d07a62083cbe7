//! The client side: one worker's connections to one agent, kept and used again.

mod direct;
mod exchange;
mod shelves;

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use crate::config::{ProxyOut, Upstream};
use crate::net::proxy_protocol::Proxied;
use crate::net::{DialError, Dialer, Dialled, Endpoints, Key, Member, Seat, Socket, Tasks};
use crate::relay::Pump;
use crate::session::EndpointId;

pub(super) use direct::Switched;
use direct::{Direct, Heard};
use shelves::{Quiet, Shelves};

use super::agent_io::{AgentIo, Asked};
use super::event_stream::EventStream;
use super::request_body::{RequestBody, Sending};
use super::server::BUFFER;
use super::waiting::WaitingRoom;
use super::written_head::WrittenHead;

/// Why the agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke before an answer came.
    #[error("the agent closed the connection before it answered: {0}")]
    Broken(hyper::Error),
    /// The client's body broke off or was malformed.
    #[error("the request body is incomplete or malformed: {0}")]
    RequestBody(hyper::Error),
    /// The client's body was larger than it may be, which is counted.
    #[error("the request body is too large")]
    TooLarge,
    /// What came is no HTTP/1.1 response.
    #[error("the agent's answer is not valid HTTP/1.1: {0}")]
    Malformed(hyper::Error),
    /// Nothing came in time.
    #[error("no answer from the agent within {0:?}")]
    Timeout(Duration),
}

/// A connection in hyper's hands: its task ends with it.
struct Open {
    sender: SendRequest<RequestBody>,
    written: WrittenHead,
    /// The agent's address, where it is told of.
    upstream: Option<Arc<str>>,
    _task: oneshot::Sender<()>,
}

/// One worker's way to one agent.
pub struct Agent {
    dialer: Dialer,
    shelves: Shelves,
    response_timeout: Option<Duration>,
    waiting: WaitingRoom,
    tasks: Tasks,
    /// Where sessions go on that are upgraded.
    pump: Pump,
    /// Whether the addresses of agents are told of.
    tells: bool,
    /// What connections begin with.
    proxy_protocol: ProxyOut,
}

/// What an agent has answered.
pub(super) enum Answer {
    /// The head of a response, and the connection that its body comes on.
    Response(Response<Incoming>, Lease),
    /// All of a response, its endpoint, and the agent's address, where it is told of.
    Whole(Response<Bytes>, Seat, Option<Arc<str>>),
    /// That it goes on in another protocol.
    Switched(Switched),
    /// A stream of events, and the agent's address, where it is told of.
    Events(Response<EventStream>, Option<Arc<str>>),
}

/// A connection in use; given back, it serves the next request.
pub(super) struct Lease {
    agent: Rc<Agent>,
    connection: Open,
    sending: Rc<Sending>,
    /// The endpoint, with the request counted on it.
    seat: Seat,
}

impl Lease {
    /// The agent's address, where it is told of.
    pub(super) fn upstream(&self) -> Option<&Arc<str>> {
        self.connection.upstream.as_ref()
    }

    pub(super) fn give_back(self) {
        let Lease {
            agent,
            connection,
            sending,
            seat,
        } = self;
        if sending.complete.get() && !connection.sender.is_closed() {
            agent.keep(&seat, Quiet::Hyper(connection));
        }
    }

    /// Gives the connection up, for what goes on over it: the place on the endpoint is what is left.
    pub(super) fn into_seat(self) -> Seat {
        self.seat
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upstream = self.upstream();
        f.debug_struct("Lease")
            .field("upstream", &upstream)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// A way to an agent, with no connection yet.
    pub fn new(upstream: &Upstream, endpoints: Arc<Endpoints>, tasks: Tasks, pump: Pump) -> Agent {
        let response_timeout = Some(upstream.response_timeout).filter(|limit| !limit.is_zero());
        Agent {
            dialer: Dialer::new(endpoints),
            shelves: Shelves::new(upstream.idle_timeout),
            response_timeout,
            waiting: WaitingRoom::default(),
            tasks,
            pump,
            tells: false,
            proxy_protocol: upstream.edge.proxy_protocol,
        }
    }

    /// What connections to the agent begin with.
    pub fn proxy_protocol(&self) -> ProxyOut {
        self.proxy_protocol
    }

    /// Has the addresses of agents told of.
    #[must_use]
    pub fn telling(mut self, tells: bool) -> Agent {
        self.tells = tells;
        self
    }

    /// The dialer, for what is not HTTP.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Closes connections that nobody has used for too long, and ends the wait for answers that do
    /// not come. Called a few times a second.
    pub fn sweep(&self) {
        if let Some(limit) = self.response_timeout {
            self.waiting.sweep(limit);
        }
        self.shelves.sweep();
    }

    /// Keeps a connection for the next request.
    fn keep(&self, seat: &Seat, connection: Quiet) {
        // One that began with a client's name is that client's alone.
        if self.proxy_protocol == ProxyOut::Off {
            self.shelves.put(seat, connection);
        }
    }

    /// The agent's address, where it is told of.
    fn told(&self, seat: &Seat) -> Option<Arc<str>> {
        self.tells.then(|| Arc::clone(&seat.member().label().0))
    }

    /// Has hyper speak on a connection.
    async fn open(
        &self,
        socket: Socket,
        asked: Option<Asked>,
        seat: &Seat,
    ) -> Result<Open, AgentError> {
        let written = WrittenHead::default();
        let io = AgentIo {
            socket,
            written: written.clone(),
            asked: asked.map(Box::new),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(io))
            .await
            .map_err(AgentError::Broken)?;
        let (task, dropped) = oneshot::channel::<()>();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                // How it ends is told to whoever waits for a response on it.
                _ = connection.with_upgrades() => {}
                _ = dropped => {}
            }
        });
        Ok(Open {
            sender,
            written,
            upstream: self.told(seat),
            _task: task,
        })
    }

    /// Sends a request and waits for the head of its response. Nothing is left of the request.
    ///
    /// A request that was never written because the pooled connection had just closed goes out on
    /// a fresh one. One that was written and got no answer does so only when it is idempotent and
    /// has no body (RFC 9110 9.2.2); others never. `goes_to` hears of each endpoint that is tried.
    pub(super) async fn send(
        self: &Rc<Self>,
        request: &mut Request<RequestBody>,
        key: Key,
        goes_to: impl Fn(EndpointId),
        client: Option<&Proxied>,
    ) -> Result<Answer, AgentError> {
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            let seat = match self.dialer.choose(key, &tried).await {
                Ok(seat) => seat,
                Err(nowhere) => return Err(last.unwrap_or(nowhere).into()),
            };
            let id = seat.id();
            goes_to(id);
            let sent = self.send_to(seat, request, client).await;
            match &sent {
                // Nothing was sent, and the endpoint is known to be out of reach.
                Err(AgentError::Dial(_)) => {
                    if let Err(AgentError::Dial(e)) = sent {
                        last = Some(e);
                    }
                    tried.push(id);
                    continue;
                }
                Err(AgentError::RequestBody(_) | AgentError::TooLarge) => {}
                Err(_) => {
                    let endpoints = self.dialer.endpoints();
                    if let Some(member) = endpoints.member(id) {
                        endpoints.went_wrong(&member);
                    }
                }
                Ok(Answer::Response(response, lease)) => {
                    self.judge(lease.seat.member(), response.status());
                }
                Ok(Answer::Whole(response, seat, _)) => {
                    self.judge(seat.member(), response.status());
                }
                Ok(Answer::Switched(Switched { seat, .. })) => {
                    self.dialer.endpoints().went_well(seat.member());
                }
                Ok(Answer::Events(response, _)) => {
                    self.dialer.endpoints().went_well(response.body().member());
                }
            }
            return sent;
        }
    }

    /// Notes that an agent has answered.
    fn judge(&self, member: &Member, status: StatusCode) {
        let endpoints = self.dialer.endpoints();
        let is_bad = matches!(status.as_u16(), 502..=504);
        match is_bad && endpoints.counts_gateway_errors() {
            true => endpoints.went_wrong(member),
            false => endpoints.went_well(member),
        }
    }

    /// Sends a request to one endpoint.
    async fn send_to(
        self: &Rc<Self>,
        seat: Seat,
        request: &mut Request<RequestBody>,
        client: Option<&Proxied>,
    ) -> Result<Answer, AgentError> {
        let mut seat = seat;
        let direct = Direct::of(request);
        // A stream keeps its connection, and costs less without hyper: what waits is for requests.
        let is_for_long = direct == Some(Direct::Events) && seat.member().is_near();
        let may_be_repeated = request.method().is_idempotent() && request.body().is_end_stream();
        while !is_for_long && let Some(connection) = self.shelves.take(&seat) {
            let connection = match connection {
                Quiet::Hyper(connection) => connection,
                Quiet::Bare(socket) => match self.exchange(socket, direct, request, seat).await? {
                    Heard::Answer(answer) => return Ok(answer),
                    Heard::Otherwise(socket, place, asked) => {
                        seat = place;
                        if asked.as_ref().is_some_and(Asked::is_unanswered) {
                            break;
                        }
                        self.open(socket, asked, &seat).await?
                    }
                },
            };
            let written = may_be_repeated.then(|| connection.written.clone());
            if let Some(written) = &written {
                written.await_next();
            }
            match self.send_on(connection, seat, request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    let Failure {
                        error,
                        unsent,
                        seat: place,
                    } = *failure;
                    seat = place;
                    match (error, unsent) {
                        (_, true) => {}
                        (error @ AgentError::Broken(_), _) => {
                            match written.and_then(|head| head.request()) {
                                Some(again) => *request = again,
                                None => return Err(error),
                            }
                            break;
                        }
                        (error, _) => return Err(error),
                    }
                }
            }
        }
        let heard = match self.dialer.connect(&seat, client).await? {
            Dialled::Unwatched(socket) if direct.is_some_and(Direct::is_for_the_pump) => {
                self.ask(socket, request, seat).await?
            }
            dialled => {
                let socket = dialled.watched();
                let socket = socket.map_err(|e| self.dialer.unusable(&seat, e))?;
                self.exchange(socket, direct, request, seat).await?
            }
        };
        let (socket, seat, asked) = match heard {
            Heard::Answer(answer) => return Ok(answer),
            Heard::Otherwise(socket, seat, asked) => (socket, seat, asked),
        };
        let connection = self.open(socket, asked, &seat).await?;
        self.send_on(connection, seat, request)
            .await
            .map_err(|failure| failure.error)
    }

    /// Waits for what comes of a request, as long as that may take.
    async fn in_time<T>(
        &self,
        sending: &Rc<Sending>,
        answer: impl Future<Output = T>,
    ) -> Result<T, AgentError> {
        let Some(limit) = self.response_timeout else {
            return Ok(answer.await);
        };
        let _place = self.waiting.enter(sending);
        let mut answer = pin!(answer);
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => sending
                .poll_over(cx)
                .map(|()| Err(AgentError::Timeout(limit))),
        })
        .await
    }

    /// Sends a request on one connection; what could not be written is put back.
    async fn send_on(
        self: &Rc<Self>,
        mut connection: Open,
        seat: Seat,
        request: &mut Request<RequestBody>,
    ) -> Result<Answer, Box<Failure>> {
        let sending = Rc::new(Sending::new());
        request.body_mut().note(Rc::clone(&sending));
        let taken = mem::replace(request, Request::new(RequestBody::empty()));
        let sent = connection.sender.try_send_request(taken);
        let response = match self.in_time(&sending, sent).await {
            Ok(response) => response,
            Err(error) => {
                return Err(Box::new(Failure {
                    error,
                    unsent: false,
                    seat,
                }));
            }
        };
        match response {
            Ok(response) => Ok(Answer::Response(
                response,
                Lease {
                    agent: Rc::clone(self),
                    connection,
                    sending,
                    seat,
                },
            )),
            Err(mut e) => {
                let unsent = e.take_message();
                let is_unsent = unsent.is_some();
                if let Some(unsent) = unsent {
                    *request = unsent;
                }
                Err(Box::new(Failure {
                    error: match sending.too_large.get() {
                        true => AgentError::TooLarge,
                        false => classify(e.into_error()),
                    },
                    unsent: is_unsent,
                    seat,
                }))
            }
        }
    }
}

struct Failure {
    error: AgentError,
    /// Whether the request is as it was.
    unsent: bool,
    /// The place, for another try.
    seat: Seat,
}

/// Whose fault it was.
fn classify(error: hyper::Error) -> AgentError {
    if error.is_user() {
        AgentError::RequestBody(error)
    } else if error.is_parse() {
        AgentError::Malformed(error)
    } else {
        AgentError::Broken(error)
    }
}
