//! What a client asks and what it has to get: one question and its answer, over and over.

use super::http::reply;
use super::payload::{pattern, payload};
use super::websocket::{CLOSE, CLOSE_BACK, Protocol, is_upgraded, upgrade};
use crate::Result;

/// How a connection ends that is used only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// The other side ends it behind the answer.
    End,
    /// The client sends a Close frame, and the agent's comes back before the end.
    Frame,
}

/// A question and its answer.
pub(crate) trait Exchange {
    /// Sent once, before the first question; its answer has to be an upgrade. Empty if there is none.
    fn greeting(&self) -> &[u8];
    /// Puts the question with this number into `out`.
    fn ask(&self, session: usize, number: u64, out: &mut Vec<u8>);
    /// The length of the answer, once it is whole; one that is not right is an error.
    fn check(&self, got: &[u8], session: usize, number: u64) -> Result<Option<usize>>;
    /// How the connection ends.
    fn goodbye(&self) -> Goodbye;
}

/// Takes the answer to a greeting off `got`; false while it is not whole.
pub(crate) fn is_greeted(got: &mut Vec<u8>) -> Result<bool> {
    is_upgraded(got)
}

/// A message of 64 bytes, and its echo.
pub(crate) struct Message {
    protocol: Protocol,
    greeting: Vec<u8>,
}

impl Message {
    pub(crate) fn new(protocol: Protocol) -> Self {
        let greeting = match protocol {
            Protocol::Tcp => Vec::new(),
            Protocol::WebSocket => upgrade("/echo"),
        };
        Self { protocol, greeting }
    }
}

impl Exchange for Message {
    fn greeting(&self) -> &[u8] {
        &self.greeting
    }

    fn ask(&self, session: usize, number: u64, out: &mut Vec<u8>) {
        self.protocol.request(&payload(session, number), out);
    }

    fn check(&self, got: &[u8], session: usize, number: u64) -> Result<Option<usize>> {
        let len = self.protocol.answer_len();
        if got.len() < len {
            return Ok(None);
        }
        if !self
            .protocol
            .is_echo(&got[..len], &payload(session, number))
        {
            return Err(format!("session {session}: message {number} came back changed").into());
        }
        Ok(Some(len))
    }

    fn goodbye(&self) -> Goodbye {
        match self.protocol {
            Protocol::Tcp => Goodbye::End,
            Protocol::WebSocket => Goodbye::Frame,
        }
    }
}

/// A request with a small answer, which is its path.
pub(crate) struct Request {
    method: &'static str,
    fields: &'static str,
    body: Vec<u8>,
}

const FIELDS: &str = "Host: agent\r\nUser-Agent: side-by-side/1\r\nAccept: */*\r\n\
    Accept-Encoding: gzip, br\r\n";

impl Request {
    /// Small both ways.
    pub(crate) fn get() -> Self {
        Self {
            method: "GET",
            fields: "",
            body: Vec::new(),
        }
    }

    /// The same, and the connection is not used again.
    pub(crate) fn get_and_close() -> Self {
        Self {
            fields: "Connection: close\r\n",
            ..Self::get()
        }
    }

    /// With a body of 64 KiB.
    pub(crate) fn post() -> Self {
        Self {
            method: "POST",
            fields: "Content-Type: application/octet-stream\r\nContent-Length: 65536\r\n",
            body: pattern(1 << 16),
        }
    }

    fn write_path(&self, session: usize, number: u64, out: &mut Vec<u8>) {
        use std::io::Write;
        let word = if self.body.is_empty() { "get" } else { "post" };
        // Writing to a vector cannot fail.
        let _ = write!(out, "/{word}/{session}-{number}");
    }
}

impl Exchange for Request {
    fn greeting(&self) -> &[u8] {
        b""
    }

    fn ask(&self, session: usize, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        self.write_path(session, number, out);
        for part in [" HTTP/1.1\r\n", FIELDS, self.fields, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.body);
    }

    fn check(&self, got: &[u8], session: usize, number: u64) -> Result<Option<usize>> {
        let Some(reply) = reply(got)? else {
            return Ok(None);
        };
        let mut path = Vec::with_capacity(32);
        self.write_path(session, number, &mut path);
        if reply.body != path {
            return Err(format!("session {session}: answer {number} is another's").into());
        }
        Ok(Some(reply.len))
    }

    fn goodbye(&self) -> Goodbye {
        Goodbye::End
    }
}

/// What follows the answer on the way out, and what comes back before the end.
pub(crate) fn last_words(goodbye: Goodbye) -> (&'static [u8], &'static [u8]) {
    match goodbye {
        Goodbye::Frame => (CLOSE, CLOSE_BACK),
        Goodbye::End => (b"", b""),
    }
}
