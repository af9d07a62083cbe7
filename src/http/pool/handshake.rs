//! The handshake of an upgrade with an agent that is connected at once, as one on the same machine is. The session is
//! the pump's afterwards, so its socket is watched there from the start; and one small exchange is written and read
//! here, where hyper would have a task and buffers for a conversation. What is answered by anything but a whole 101 is
//! hyper's.

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::io::AsyncWriteExt as _;

use crate::net::{Dialled, Seat, Socket};
use crate::relay::Expected;

use super::{Agent, AgentError};
use crate::http::agent_io::Asked;
use crate::http::request_body::{RequestBody, Sending};

/// The largest head that is written here, in bytes: the buffer of a fresh socket takes it at once.
const LARGEST: usize = 8 * 1024;
/// So much is read here of an answer, in bytes, and so many fields; those of a 101 are few.
const ANSWER: usize = 2 * 1024;
const FIELDS: usize = 32;

/// An agent that goes on in another protocol.
pub(in crate::http) struct Switched {
    /// Its answer.
    pub(in crate::http) head: Response<()>,
    /// Its socket.
    pub(in crate::http) agent: Expected,
    /// What it said behind the answer.
    pub(in crate::http) rest: Bytes,
    /// Its endpoint, with the session counted on it.
    pub(in crate::http) seat: Seat,
    /// Its address, where it is told of.
    pub(in crate::http) upstream: Option<Arc<str>>,
}

/// How an agent has answered.
pub(super) enum Shaken {
    /// With a whole 101.
    Switched(Switched),
    /// Otherwise, or it has not ended its answer yet.
    Otherwise(Socket, Seat, Asked),
}

/// The bytes of a request for an upgrade, where it is written here.
pub(super) fn head_of(request: &Request<RequestBody>) -> Option<Vec<u8>> {
    let is_plain = request.method() == Method::GET && request.body().is_end_stream();
    if !is_plain || !request.headers().contains_key(UPGRADE) {
        return None;
    }
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
    /// Asks for an upgrade on a fresh connection, and waits for the first of the answer.
    pub(super) async fn shake(
        &self,
        socket: std::net::TcpStream,
        head: &[u8],
        seat: Seat,
    ) -> Result<Shaken, AgentError> {
        let unusable = |e| AgentError::Dial(self.dialer.unusable(&seat, e));
        let agent = self.pump.expect(socket.into()).map_err(unusable)?;
        let written = agent.write(head).unwrap_or_default();
        if written < head.len() {
            let mut socket = unwatched(agent).map_err(unusable)?;
            // If the connection is broken, hyper finds it so, and says what that means.
            let _ = socket.write_all(&head[written..]).await;
            return Ok(Shaken::Otherwise(socket, seat, Asked::default()));
        }
        let sending = Rc::new(Sending::new());
        let mut answer = [0; ANSWER];
        let read = loop {
            self.in_time(&sending, agent.readable()).await?;
            match agent.read(&mut answer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Likewise.
                read => break read.unwrap_or_default(),
            }
        };
        let answer = Bytes::copy_from_slice(&answer[..read]);
        match switched(&answer) {
            Some((head, length)) => {
                let (rest, upstream) = (answer.slice(length..), self.told(&seat));
                Ok(Shaken::Switched(Switched {
                    head,
                    agent,
                    rest,
                    seat,
                    upstream,
                }))
            }
            None => {
                let socket = unwatched(agent).map_err(unusable)?;
                Ok(Shaken::Otherwise(socket, seat, Asked::answered(answer)))
            }
        }
    }
}

/// Has it watched by the runtime and not by the pump.
fn unwatched(agent: Expected) -> std::io::Result<Socket> {
    Dialled::Unwatched(agent.into_socket()?.into()).watched()
}

/// A whole 101, and how long it is.
fn switched(answer: &Bytes) -> Option<(Response<()>, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer).ok()? else {
        return None;
    };
    if head.version != Some(1) || head.code != Some(StatusCode::SWITCHING_PROTOCOLS.as_u16()) {
        return None;
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for field in head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(answer.slice_ref(field.value)).ok()?;
        response.headers_mut().append(name, value);
    }
    Some((response, length))
}
