//! What is asked of an agent without hyper, where it is connected at once, as one on the same machine is: an upgrade, of
//! which the pump has the rest, and an event stream, which may be open for hours. Their socket is watched by the pump
//! from the start; and one small exchange is written and read here, where hyper would have a task and buffers for a
//! conversation. Whatever else is answered is hyper's, as if it had asked. A GET that is neither is asked in
//! [`super::exchange`], of any agent.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use tokio::io::AsyncWriteExt as _;

use crate::net::{Dialled, Seat, Socket};
use crate::relay::Guest;

use super::{Agent, AgentError, Answer};
use crate::http::admission::is_event_source;
use crate::http::agent_io::Asked;
use crate::http::event_stream::{EventStream, Framing};
use crate::http::fields::is_event_stream;
use crate::http::request_body::{RequestBody, Sending};

/// The largest head that is written here, in bytes: the buffer of a fresh socket takes it at once.
const LARGEST: usize = 8 * 1024;
/// So many fields of an answer are read here.
const FIELDS: usize = 64;

/// An agent that goes on in another protocol.
pub(in crate::http) struct Switched {
    /// Its answer.
    pub(in crate::http) head: Response<()>,
    /// Its socket.
    pub(in crate::http) agent: Guest,
    /// What it said behind the answer.
    pub(in crate::http) rest: Bytes,
    /// Its endpoint, with the session counted on it.
    pub(in crate::http) seat: Seat,
    /// Its address, where it is told of.
    pub(in crate::http) upstream: Option<Arc<str>>,
}

/// How an agent has answered.
#[allow(clippy::large_enum_variant, reason = "it is moved once")]
pub(super) enum Heard {
    /// With what was asked for.
    Answer(Answer),
    /// Otherwise, or it has not ended its head yet; or it was not asked, and hyper is to.
    Otherwise(Socket, Seat, Option<Asked>),
}

/// What may be asked without hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direct {
    /// To go on in another protocol.
    Upgrade,
    /// A stream of events.
    Events,
    /// Something else that has no body.
    Exchange,
}

impl Direct {
    /// What a request asks; none if that is hyper's, as all but a GET without a body is.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Direct> {
        let headers = request.headers();
        let is_plain = request.method() == Method::GET && request.body().is_end_stream();
        if !is_plain || headers.contains_key(EXPECT) {
            return None;
        }
        Some(if headers.contains_key(UPGRADE) {
            Direct::Upgrade
        } else if is_event_source(request) {
            Direct::Events
        } else {
            Direct::Exchange
        })
    }

    /// Whether the pump watches what comes of it.
    pub(super) fn is_for_the_pump(self) -> bool {
        self != Direct::Exchange
    }
}

/// The bytes of a request that has no body; none if they are many.
pub(super) fn head_of(request: &Request<RequestBody>) -> Option<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    let target = request.uri().path_and_query()?.as_str();
    for piece in ["GET ", target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(piece.as_bytes());
    }
    for (name, value) in request.headers() {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"\r\n");
    (head.len() <= LARGEST).then_some(head)
}

impl Agent {
    /// Asks on a fresh connection, and waits for the first of the answer.
    pub(super) async fn ask(
        &self,
        socket: std::net::TcpStream,
        request: &Request<RequestBody>,
        seat: Seat,
    ) -> Result<Heard, AgentError> {
        let unusable = |e| AgentError::Dial(self.dialer.unusable(&seat, e));
        let Some(head) = head_of(request) else {
            let socket = Dialled::Unwatched(socket).watched().map_err(unusable)?;
            return Ok(Heard::Otherwise(socket, seat, None));
        };
        let agent = self.pump.host(socket.into()).map_err(unusable)?;
        let written = agent.write(&head).unwrap_or_default();
        if written < head.len() {
            let mut socket = unwatched(agent).map_err(unusable)?;
            // If the connection is broken, hyper finds it so, and says what that means.
            let _ = socket.write_all(&head[written..]).await;
            return Ok(Heard::Otherwise(socket, seat, Some(Asked::default())));
        }
        let sending = Rc::new(Sending::new());
        let answer = loop {
            let readable = poll_fn(|cx| agent.poll_readable(cx));
            self.in_time(&sending, readable).await?;
            match agent.read(Bytes::copy_from_slice) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Likewise.
                read => break read.unwrap_or_default(),
            }
        };
        let Some((head, length)) = parse(&answer) else {
            let socket = unwatched(agent).map_err(unusable)?;
            return Ok(Heard::Otherwise(
                socket,
                seat,
                Some(Asked::answered(answer)),
            ));
        };
        let (rest, upstream) = (answer.slice(length..), self.told(&seat));
        if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Heard::Answer(Answer::Switched(Switched {
                head,
                agent,
                rest,
                seat,
                upstream,
            })));
        }
        match framing(&head) {
            Some(framing) => {
                let stream = EventStream::new(agent, seat, framing, rest);
                let response = head.map(|()| stream);
                Ok(Heard::Answer(Answer::Events(response, upstream)))
            }
            None => {
                let socket = unwatched(agent).map_err(unusable)?;
                Ok(Heard::Otherwise(
                    socket,
                    seat,
                    Some(Asked::answered(answer)),
                ))
            }
        }
    }
}

/// Has it watched by the runtime and not by the pump.
fn unwatched(agent: Guest) -> std::io::Result<Socket> {
    Dialled::Unwatched(agent.into_socket()?.into()).watched()
}

/// A whole head, and how long it is.
pub(super) fn parse(answer: &Bytes) -> Option<(Response<()>, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer).ok()? else {
        return None;
    };
    if head.version != Some(1) {
        return None;
    }
    let mut response = Response::new(());
    let status = StatusCode::from_u16(head.code?).ok()?;
    *response.status_mut() = status;
    let reason = head.reason.unwrap_or_default();
    if status.canonical_reason() != Some(reason) {
        let reason = ReasonPhrase::try_from(reason.as_bytes()).ok()?;
        response.extensions_mut().insert(reason);
    }
    response.headers_mut().reserve(head.headers.len());
    for field in head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(answer.slice_ref(field.value)).ok()?;
        response.headers_mut().append(name, value);
    }
    Some((response, length))
}

/// How the events of an answer are framed (RFC 9112 6.3); none if it is no stream of events without an end that is
/// known.
fn framing(head: &Response<()>) -> Option<Framing> {
    let headers = head.headers();
    let has_length = headers.contains_key(CONTENT_LENGTH);
    if head.status() != StatusCode::OK || has_length || !is_event_stream(headers) {
        return None;
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Some(Framing::UntilTheEnd),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Some(Framing::chunked())
        }
        _ => None,
    }
}
