//! TLS in a client's connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::Result;
use crate::rig::certificate::NAME;

/// What stands between a client's bytes and its socket.
pub(crate) struct Secure(ClientConnection);

impl Secure {
    pub(crate) fn new(config: &Arc<ClientConfig>) -> Result<Self> {
        let name = ServerName::try_from(NAME)?;
        let mut connection = ClientConnection::new(Arc::clone(config), name)?;
        // What is said is bounded by who says it.
        connection.set_buffer_limit(None);
        Ok(Self(connection))
    }

    /// Takes what is to be said; it is sent by [`Secure::flush`].
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.writer().write_all(bytes)?)
    }

    /// Whether everything has been given to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.0.wants_write()
    }

    /// Sends what the kernel takes.
    pub(crate) fn flush(&mut self, mut socket: &TcpStream) -> Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("a write failed: {error}").into()),
            }
        }
        Ok(())
    }

    /// Reads once from the socket; false at the end of the stream, none if it is dry.
    pub(crate) fn read(&mut self, mut socket: &TcpStream) -> Result<Option<bool>> {
        match self.0.read_tls(&mut socket) {
            Ok(0) => return Ok(Some(false)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(format!("a read failed: {error}").into()),
        }
        self.0.process_new_packets()?;
        // Parts of a handshake call for an answer.
        self.flush(socket)?;
        Ok(Some(true))
    }

    /// What has come; 0 if there is no more for now.
    pub(crate) fn hear(&mut self, scratch: &mut [u8]) -> Result<usize> {
        match self.0.reader().read(scratch) {
            Ok(n) => Ok(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}
