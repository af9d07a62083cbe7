//! The TLS of one connection, without a socket of its own: whoever has the socket lends it for the
//! time of a call, and nothing here waits. So it lives in a task during the handshake and while HTTP
//! is spoken, and in the pump afterwards, with all that was decrypted and not read, or encrypted and
//! not sent.
//!
//! An idle one holds no buffer: ciphertext is read into the thread's scratch, and kept only where a
//! record is not whole.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::kept::Kept;
use super::scratch;
use super::step::{Output, Step, Wish, step};

/// The longest record there is on the wire (RFC 5246 6.2.3): no more ciphertext is held.
const RECORD: usize = 5 + 16_384 + 2_048;
/// Likewise in a handshake, whose messages are at most so long and come in records of their own.
const HANDSHAKE: usize = 65_535 + RECORD;
/// What is encrypted at once: a full record, and a little one behind it.
const MOST: usize = 16_384 + 512;
/// Words of TLS' own that wait for a peer which makes us talk and does not read: more is too much.
const MOST_UNSENT: usize = 128 * 1_024;
/// The thread's scratch: all of the above, and what the records add.
pub(super) const SCRATCH: usize = HANDSHAKE;

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Connection {
    fn step(
        &mut self,
        input: &mut [u8],
        output: &mut Output<'_>,
        wish: Wish<'_>,
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Connection::Server(c) => step(c.process_tls_records(input), output, wish),
            Connection::Client(c) => step(c.process_tls_records(input), output, wish),
        }
    }

    fn state(&self) -> &CommonState {
        match self {
            Connection::Server(connection) => connection,
            Connection::Client(connection) => connection,
        }
    }
}

/// What ciphertext is taken in for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    Handshake,
    Plaintext,
}

/// The TLS of one connection.
pub struct Layer {
    connection: Connection,
    /// Read from the socket and not decrypted: the beginning of a record, or what there was no
    /// room for.
    received: Vec<u8>,
    /// Decrypted and not read.
    ahead: Kept,
    /// Encrypted and not taken by the socket.
    unsent: Kept,
    /// Bytes of ours that are in `unsent`.
    owed: usize,
    /// Bytes of ours that the socket has taken since somebody asked.
    delivered: usize,
    /// The socket may have more, or `received` may.
    more: bool,
    /// A byte has come.
    begun: bool,
    /// The peer has ended its side.
    ended: bool,
    /// The peer has broken the rules.
    broken: bool,
    /// A close_notify was made.
    closed: bool,
}

impl Layer {
    /// The server's side of a connection.
    ///
    /// # Errors
    /// When the library refuses the settings.
    pub fn server(config: Arc<ServerConfig>) -> io::Result<Layer> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Layer::new(Connection::Server(connection)))
    }

    /// The client's side of a connection to a server of this name.
    ///
    /// # Errors
    /// When the library refuses the settings.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Layer> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Layer::new(Connection::Client(connection)))
    }

    fn new(connection: Connection) -> Layer {
        Layer {
            connection,
            received: Vec::new(),
            ahead: Kept::default(),
            unsent: Kept::default(),
            owed: 0,
            delivered: 0,
            more: true,
            begun: false,
            ended: false,
            broken: false,
            closed: false,
        }
    }

    /// Goes on with the handshake as far as the socket allows; true when it is over.
    ///
    /// # Errors
    /// When it fails, after the peer was told so; `UnexpectedEof` when the peer has gone.
    pub fn shake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<bool> {
        let taken = self.take_in(socket, &mut [], Aim::Handshake);
        let flushed = self.flush(socket);
        taken?;
        flushed?;
        let is_over = !self.connection.state().is_handshaking();
        if self.ended && !is_over {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(is_over && self.unsent.is_empty())
    }

    /// Whether the peer has sent a byte.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The certificate that the peer has shown, if it has, verified.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.state().peer_certificates()?.first()
    }

    /// Reads what there is; zero is the end of the stream, by a close_notify or by a FIN.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; others as the socket's, or when the peer breaks the rules.
    pub fn read(&mut self, socket: &mut (impl Read + Write), out: &mut [u8]) -> io::Result<usize> {
        let n = self.ahead.take(out);
        if n > 0 {
            return Ok(n);
        }
        match self.take_in(socket, out, Aim::Plaintext)? {
            0 if !self.ended => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    /// Whether a read may find something though the socket says nothing more.
    pub fn has_more(&self) -> bool {
        self.more || !self.ahead.is_empty()
    }

    /// Whether the peer has ended its side, as far as that can be known without taking in more than
    /// one record of what it says; that is kept for the next read.
    pub fn has_ended(&mut self, socket: &mut (impl Read + Write)) -> bool {
        self.ahead.is_empty()
            && (self.take_in(socket, &mut [], Aim::Plaintext).is_err() || self.ended)
            && self.ahead.is_empty()
    }

    /// Takes in ciphertext until there is plaintext in `out`, or ahead of it if there is no `out`,
    /// or until the aim is reached, or the socket has no more.
    fn take_in(
        &mut self,
        socket: &mut (impl Read + Write),
        out: &mut [u8],
        aim: Aim,
    ) -> io::Result<usize> {
        if self.broken {
            // Behind what was good, the peer has not heard yet.
            let _ = self.flush(socket);
            return Err(ErrorKind::InvalidData.into());
        }
        if self.ended {
            self.more = false;
            return Ok(0);
        }
        scratch::with(|scratch| {
            let mut held = self.received.len();
            scratch[..held].copy_from_slice(&self.received);
            self.received = Vec::new();
            let done = self.take_into(scratch, &mut held, socket, out, aim);
            if held > 0 {
                self.received = scratch[..held].to_vec();
            }
            if done.is_err() {
                // Who breaks the rules hears so, if the socket takes it.
                let _ = self.flush(socket);
            }
            done
        })
    }

    fn take_into(
        &mut self,
        scratch: &mut [u8],
        held: &mut usize,
        socket: &mut impl Read,
        out: &mut [u8],
        aim: Aim,
    ) -> io::Result<usize> {
        let window = match aim {
            Aim::Handshake => HANDSHAKE,
            // For several records, whoever has room for them.
            Aim::Plaintext if out.len() > RECORD => SCRATCH.min(out.len() + RECORD),
            Aim::Plaintext => RECORD,
        };
        let mut filled = 0;
        // Whether the last read took less than it might have: that empties a socket (epoll(7)).
        let mut is_short = false;
        let mut is_fresh = *held > 0 || aim == Aim::Handshake;
        loop {
            if is_fresh {
                let (n, is_all) = self.decrypt(&mut scratch[..], held, out)?;
                filled = n;
                let is_shaken = !self.connection.state().is_handshaking();
                let is_reached = aim == Aim::Handshake && is_shaken;
                if filled > 0 || self.ended || is_reached || !is_all {
                    self.more = !is_all || !is_short;
                    return Ok(filled);
                }
            }
            if *held >= window {
                self.broken = true;
                let what = "a message of TLS that is too long";
                return Err(io::Error::new(ErrorKind::InvalidData, what));
            }
            let room = &mut scratch[*held..window];
            match socket.read(room) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    is_short = n < room.len();
                    *held += n;
                    self.begun = true;
                    is_fresh = true;
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            self.more = false;
            return Ok(filled);
        }
    }

    /// Decrypts what is held, and says how much plaintext that was, and whether it was all.
    fn decrypt(
        &mut self,
        scratch: &mut [u8],
        held: &mut usize,
        out: &mut [u8],
    ) -> io::Result<(usize, bool)> {
        let mut output = Output {
            out,
            filled: 0,
            ahead: &mut self.ahead,
            unsent: &mut self.unsent,
        };
        let mut at = 0;
        let mut is_all = false;
        let mut wrong = None;
        while !is_all && output.has_room() {
            let input = &mut scratch[at..*held];
            let (discard, step) = self.connection.step(input, &mut output, Wish::None);
            at += discard;
            match step {
                Ok(Step::Again) if output.unsent.len() <= MOST_UNSENT => {}
                Ok(Step::Again) => {
                    let what = "a peer makes us talk and does not read";
                    wrong = Some(io::Error::new(ErrorKind::InvalidData, what));
                    break;
                }
                Ok(Step::Shaking | Step::Open | Step::Sealed(_)) => is_all = true,
                Ok(Step::PeerClosed | Step::Closed) => {
                    self.ended = true;
                    is_all = true;
                }
                Err(error) => {
                    // What is to be said to the peer about it. Beyond that the library must not be
                    // asked again: it would meet the same error, and does not bear that.
                    while self.connection.state().wants_write() {
                        let input = &mut scratch[at..*held];
                        let (discard, _) = self.connection.step(input, &mut output, Wish::None);
                        at += discard;
                    }
                    wrong = Some(io::Error::new(ErrorKind::InvalidData, error));
                    break;
                }
            }
        }
        scratch.copy_within(at..*held, 0);
        *held -= at;
        let filled = output.filled;
        match wrong {
            None => Ok((filled, is_all)),
            Some(_) if filled > 0 => {
                // What came before it is good; the next read meets it.
                self.broken = true;
                Ok((filled, false))
            }
            Some(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// Encrypts and writes what the socket takes, a record or two beyond it at most; zero when it
    /// takes nothing.
    ///
    /// # Errors
    /// As the socket's, and when the connection is closed.
    pub fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let mut taken = 0;
        while taken < bytes.len() && self.unsent.is_empty() {
            let rest = &bytes[taken..];
            let piece = &rest[..rest.len().min(MOST)];
            self.owed += piece.len();
            if let Err(error) = self.seal(socket, Some(piece)) {
                self.owed -= piece.len();
                return Err(error);
            }
            taken += piece.len();
        }
        Ok(taken)
    }

    /// Writes what waits. Done when [`Layer::has_unsent`] is false.
    ///
    /// # Errors
    /// As the socket's.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match write_some(socket, self.unsent.rest())? {
                0 => return Ok(()),
                n => self.unsent.advance(n),
            }
        }
        self.delivered += std::mem::take(&mut self.owed);
        Ok(())
    }

    /// Whether something waits for the socket.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Gives up what waits for the socket, and says how many bytes that was which were given to be
    /// written and have not reached it whole.
    pub fn give_up(&mut self) -> usize {
        self.unsent = Kept::default();
        std::mem::take(&mut self.owed)
    }

    /// Whether it was said that nothing more will be sent.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that have reached the socket since this was asked last.
    pub fn take_delivered(&mut self) -> usize {
        std::mem::take(&mut self.delivered)
    }

    /// Says that nothing more will be sent. It still has to be flushed.
    pub fn close(&mut self, socket: &mut impl Write) {
        if !std::mem::replace(&mut self.closed, true) {
            // A peer that has gone already needs no close_notify.
            let _ = self.seal(socket, None);
        }
    }

    /// Encrypts bytes, or a close_notify, and writes what the socket takes.
    fn seal(&mut self, socket: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        scratch::with(|scratch| {
            let n = loop {
                let mut output = Output {
                    out: &mut [],
                    filled: 0,
                    ahead: &mut self.ahead,
                    unsent: &mut self.unsent,
                };
                let wish = match bytes {
                    Some(bytes) => Wish::Seal(bytes, &mut scratch[..]),
                    None => Wish::Close(&mut scratch[..]),
                };
                // With what was received, since the library may have its eye on the first of it.
                let input = &mut self.received[..];
                let (discard, step) = self.connection.step(input, &mut output, wish);
                self.received.drain(..discard);
                let step = step.map_err(|error| {
                    self.broken = true;
                    io::Error::new(ErrorKind::InvalidData, error)
                })?;
                match step {
                    Step::Again => {}
                    Step::PeerClosed => self.ended = true,
                    Step::Sealed(n) => break n,
                    Step::Shaking | Step::Open | Step::Closed => {
                        return Err(ErrorKind::BrokenPipe.into());
                    }
                }
            };
            let mut sealed = &scratch[..n];
            while self.unsent.is_empty() && !sealed.is_empty() {
                match write_some(socket, sealed)? {
                    0 => break,
                    n => sealed = &sealed[n..],
                }
            }
            match sealed.is_empty() {
                true if self.unsent.is_empty() => {
                    self.delivered += std::mem::take(&mut self.owed);
                }
                _ => self.unsent.keep(sealed),
            }
            Ok(())
        })
    }
}

/// Writes what fits; zero when nothing does.
fn write_some(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(0),
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            done => return done,
        }
    }
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer")
            .field("received", &self.received.len())
            .field("unsent", &self.unsent.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
