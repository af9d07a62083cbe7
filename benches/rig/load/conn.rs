//! One socket of the load, and what is on its way through it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustls::ClientConfig;

use super::secure::Secure;
use crate::Result;

/// A socket, non-blocking and without delay.
pub(crate) struct Conn {
    pub(crate) socket: TcpStream,
    /// Read, and not understood yet.
    pub(crate) got: Vec<u8>,
    /// To be written, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Where TLS is spoken.
    secure: Option<Box<Secure>>,
}

impl Conn {
    pub(crate) fn new(socket: TcpStream) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            got: Vec::new(),
            out: Vec::new(),
            sent: 0,
            secure: None,
        })
    }

    /// A client's connection to the subject, over TLS if there is any.
    pub(crate) fn connect(subject: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let mut conn = Self::new(TcpStream::connect(subject)?)?;
        conn.secure = match tls {
            Some(tls) => Some(Box::new(Secure::new(tls)?)),
            None => None,
        };
        Ok(conn)
    }

    /// Ends with a reset, so that thousands of ports are free again for the next subject.
    pub(crate) fn end_with_reset(&self) -> Result<()> {
        Ok(set_socket_linger(&self.socket, Some(Duration::ZERO))?)
    }

    /// Ends with what is still to be said, where a reset would cut it off.
    pub(crate) fn end_in_order(&self) -> Result<()> {
        Ok(set_socket_linger(&self.socket, None)?)
    }

    /// Lets `write` put something behind what is to be sent, and sends what the kernel takes.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        write(&mut self.out);
        self.flush()
    }

    /// Sends what the kernel takes.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(secure) = &mut self.secure {
            secure.say(&self.out)?;
            self.out.clear();
            return secure.flush(&self.socket);
        }
        while self.sent < self.out.len() {
            match (&self.socket).write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("a write failed: {error}").into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Whether everything has been given to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        let is_secure = |secure: &Secure| secure.is_flushed();
        self.out.is_empty() && self.secure.as_deref().is_none_or(is_secure)
    }

    /// Reads what is there; false at the end of the stream. With `over`, a short read does not mean that the
    /// socket is dry: the end is still to be read.
    pub(crate) fn fill(&mut self, scratch: &mut [u8], over: bool) -> Result<bool> {
        if let Some(secure) = &mut self.secure {
            while let Some(goes_on) = secure.read(&self.socket)? {
                loop {
                    match secure.hear(scratch)? {
                        0 => break,
                        n => self.got.extend_from_slice(&scratch[..n]),
                    }
                }
                if !goes_on {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        loop {
            match (&self.socket).read(scratch) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.got.extend_from_slice(&scratch[..n]);
                    if n < scratch.len() && !over {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(format!("a read failed: {error}").into()),
            }
        }
    }
}
