//! A GET without a body whose answer comes at once and whole: most are no more than a write and a read, for which
//! no task has to be woken that speaks for the connection. The next one may go the same way on it. Whatever is
//! answered otherwise is hyper's, as if it had asked, and so is the connection from then on.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::ready;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use crate::net::{Seat, Socket};

use super::direct::{Direct, Heard, head_of, parse};
use super::shelves::Quiet;
use super::{Agent, AgentError, Answer};
use crate::http::agent_io::Asked;
use crate::http::request_body::{RequestBody, Sending};

/// The largest answer that is taken here, in bytes, with its head.
const LARGEST: usize = 8 * 1024;

impl Agent {
    /// Asks on a connection that is in nobody's hands, if what is asked may be asked here.
    pub(super) async fn exchange(
        &self,
        mut socket: Socket,
        direct: Option<Direct>,
        request: &Request<RequestBody>,
        seat: Seat,
    ) -> Result<Heard, AgentError> {
        let head = match direct {
            Some(Direct::Exchange) => head_of(request),
            _ => None,
        };
        let Some(head) = head else {
            return Ok(Heard::Otherwise(socket, seat, None));
        };
        let sending = Rc::new(Sending::new());
        let first = self.in_time(&sending, first_of_answer(&mut socket, &head));
        let answer = first.await?;
        let Some(response) = whole(&answer) else {
            let asked = Some(Asked::answered(answer));
            return Ok(Heard::Otherwise(socket, seat, asked));
        };
        let upstream = self.told(&seat);
        self.keep(&seat, Quiet::Bare(socket));
        Ok(Heard::Answer(Answer::Whole(response, seat, upstream)))
    }
}

/// Writes the head of a request, and reads once; nothing, if the connection is broken or over.
async fn first_of_answer(socket: &mut Socket, head: &[u8]) -> Bytes {
    if socket.write_all(head).await.is_err() || socket.flush().await.is_err() {
        return Bytes::new();
    }
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); LARGEST];
        let mut room = ReadBuf::uninit(&mut room);
        let read = ready!(Pin::new(&mut *socket).poll_read(cx, &mut room));
        let read = read.map(|()| Bytes::copy_from_slice(room.filled()));
        read.unwrap_or_default().into()
    })
    .await
}

/// A final response that has come with all of its body and nothing behind it, on a connection that goes on
/// (RFC 9112 6.3, 9.3).
fn whole(answer: &Bytes) -> Option<Response<Bytes>> {
    let (head, length) = parse(answer)?;
    let status = head.status();
    let has_no_body = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if status.is_informational() || has_no_body || !goes_on(head.headers()) {
        return None;
    }
    let body = answer.slice(length..);
    (body_length(head.headers()) == Some(body.len())).then(|| head.map(|()| body))
}

/// Whether the agent says nothing else of its connection.
fn goes_on(headers: &HeaderMap) -> bool {
    let said = headers.get_all(CONNECTION);
    said.iter()
        .all(|option| option.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// How long the body is, in bytes, where one field says so and no other speaks of it.
fn body_length(headers: &HeaderMap) -> Option<usize> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(length), None) = (lengths.next(), lengths.next()) else {
        return None;
    };
    let is_number = length.as_bytes().iter().all(u8::is_ascii_digit);
    if !is_number || headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    length.to_str().ok()?.parse().ok()
}
