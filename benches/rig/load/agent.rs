//! The agent behind the subject: echoes, answers, streams.

use std::io;
use std::net::TcpListener;

use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::conn::Conn;
use super::http::{content_length, head_len, target};
use super::payload::pattern;
use super::set::{Set, Who, is_over};
use super::websocket::{BINARY, CLOSE_BACK, Protocol, SWITCHING, is_close};
use crate::Result;

/// The send buffer of a connection that floods.
const FLOOD_BUFFER: usize = 32 * 1024;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What it speaks on a new connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Messages, sent back.
    Echo,
    /// The same, and the connection ends behind the first.
    EchoOnce,
    /// After the first message so many bytes, as they are taken.
    Flood(usize),
    /// HTTP; the path decides what an upgraded connection becomes.
    Http,
}

enum State {
    Http,
    Echo(Protocol),
    /// Writes so many more bytes.
    Flood(usize),
    /// Gets what [`Agent::push`] sends.
    Listens,
}

struct Side {
    conn: Conn,
    state: State,
}

impl Side {
    /// What it has to say should wait here, not in the kernel.
    fn flood(&mut self, bytes: usize) -> Result<()> {
        set_socket_send_buffer_size(&self.conn.socket, FLOOD_BUFFER)?;
        self.state = State::Flood(bytes);
        Ok(())
    }
}

/// The agent.
pub(crate) struct Agent {
    listener: TcpListener,
    role: Role,
    sides: Vec<Option<Side>>,
    free: Vec<usize>,
    /// Those that listen, in the order of their coming.
    pub(crate) audience: Vec<usize>,
    /// What a posted body has to be.
    body: Vec<u8>,
    flood: Vec<u8>,
}

impl Agent {
    /// Starts to accept on `listener`.
    pub(crate) fn new(listener: TcpListener, role: Role, set: &Set) -> Result<Self> {
        listener.set_nonblocking(true)?;
        set.watch(&listener, Who::Listener, EventFlags::IN)?;
        Ok(Self {
            listener,
            role,
            sides: Vec::new(),
            free: Vec::new(),
            audience: Vec::new(),
            body: pattern(1 << 16),
            flood: frame(1 << 14),
        })
    }

    /// Takes what came; with many in the backlog, all of it.
    pub(crate) fn accept(&mut self, set: &Set) -> Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let conn = Conn::new(socket)?;
            let at = self.free.pop().unwrap_or_else(|| {
                self.sides.push(None);
                self.sides.len() - 1
            });
            set.add(&conn.socket, Who::Agent(at))?;
            let state = match self.role {
                Role::Echo | Role::EchoOnce => State::Echo(Protocol::Tcp),
                Role::Flood(_) | Role::Http => State::Http,
            };
            self.sides[at] = Some(Side { conn, state });
        }
    }

    /// Serves one of its connections.
    pub(crate) fn serve(&mut self, at: usize, flags: EventFlags, scratch: &mut [u8]) -> Result<()> {
        let Some(side) = &mut self.sides[at] else {
            return Ok(());
        };
        if flags.contains(EventFlags::OUT) {
            // Whoever resets a connection in the middle of a flood means to.
            if side.conn.flush().is_err() {
                self.forget(at);
                return Ok(());
            }
        }
        let is_flooded = matches!(side.state, State::Flood(_));
        let open = match side.conn.fill(scratch, is_over(flags)) {
            Ok(open) => open,
            // A client that resets its connection is the load's own doing; in the middle of a flood it
            // may do so behind the event.
            Err(_) if is_over(flags) || is_flooded => false,
            Err(error) => return Err(error),
        };
        if !open || self.go_on(at)? {
            self.forget(at);
        }
        Ok(())
    }

    /// Sends the same to one of the audience.
    pub(crate) fn push(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        match &mut self.sides[at] {
            Some(side) => side.conn.send(|out| out.extend_from_slice(bytes)),
            None => Err("a listening connection is gone".into()),
        }
    }

    fn forget(&mut self, at: usize) {
        if self.sides[at].take().is_some() {
            self.free.push(at);
            self.audience.retain(|&other| other != at);
        }
    }

    /// Answers what has come; true when the connection is to be closed.
    fn go_on(&mut self, at: usize) -> Result<bool> {
        let Some(side) = &mut self.sides[at] else {
            return Ok(false);
        };
        loop {
            match &mut side.state {
                State::Http if matches!(self.role, Role::Flood(_)) => {
                    let Role::Flood(bytes) = self.role else {
                        return Ok(false);
                    };
                    if side.conn.got.is_empty() {
                        return Ok(false);
                    }
                    side.conn.got.clear();
                    side.flood(bytes)?;
                }
                State::Http => {
                    let Some(head) = head_len(&side.conn.got) else {
                        return Ok(false);
                    };
                    let len = head + content_length(&side.conn.got[..head])?;
                    if side.conn.got.len() < len {
                        return Ok(false);
                    }
                    let path = target(&side.conn.got[..head])?.to_vec();
                    let becomes = match &path[..] {
                        b"/echo" => Some(State::Echo(Protocol::WebSocket)),
                        b"/push" | b"/events" => Some(State::Listens),
                        b"/flood" => Some(State::Flood(1 << 20)),
                        _ => None,
                    };
                    if path.starts_with(b"/post") && side.conn.got[head..len] != self.body {
                        return Err("a posted body has arrived changed".into());
                    }
                    side.conn.got.drain(..len);
                    match becomes {
                        Some(state) => {
                            if matches!(state, State::Listens) {
                                self.audience.push(at);
                            }
                            let head = match &path[..] {
                                b"/events" => STREAM_HEAD,
                                _ => SWITCHING,
                            };
                            side.conn.send(|out| out.extend_from_slice(head))?;
                            match state {
                                State::Flood(bytes) => side.flood(bytes)?,
                                other => side.state = other,
                            }
                        }
                        None => side.conn.send(|out| answer(&path, out))?,
                    }
                }
                State::Echo(protocol) => {
                    let (protocol, len) = (*protocol, protocol.request_len());
                    let Conn { got, .. } = &mut side.conn;
                    let got = std::mem::take(got);
                    let whole = got.len() - got.len() % len;
                    let mut result = Ok(());
                    if whole > 0 {
                        side.conn.send(|out| {
                            result = got[..whole]
                                .chunks(len)
                                .try_for_each(|request| protocol.echo(request, out));
                        })?;
                    }
                    result?;
                    let closes = protocol == Protocol::WebSocket && is_close(&got[whole..]);
                    let ended = closes || whole > 0 && matches!(self.role, Role::EchoOnce);
                    if closes {
                        side.conn.send(|out| out.extend_from_slice(CLOSE_BACK))?;
                    }
                    side.conn.got = got;
                    side.conn.got.drain(..whole);
                    return Ok(ended);
                }
                State::Flood(left) => {
                    while *left > 0 && side.conn.is_flushed() {
                        let now = self.flood.len().min(*left);
                        *left -= now;
                        let part = &self.flood[..now];
                        // As above: the reset may come between two parts.
                        if side.conn.send(|out| out.extend_from_slice(part)).is_err() {
                            return Ok(true);
                        }
                    }
                    return Ok(false);
                }
                State::Listens => {
                    side.conn.got.clear();
                    return Ok(false);
                }
            }
        }
    }
}

/// A small answer, whose body is the path.
fn answer(path: &[u8], out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 09:00:00 GMT\r\nContent-Type: text/plain\r\n\
        Cache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
        path.len()
    );
    out.extend_from_slice(path);
}

/// A binary frame of this length in all, its header being four bytes of it.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![BINARY, 126];
    let payload = u16::try_from(len - 4).unwrap_or(u16::MAX);
    frame.extend_from_slice(&payload.to_be_bytes());
    frame.extend(pattern(len - 4));
    frame
}
