//! What a new connection passes before it is served: the header that says whose it is, and the
//! limits of its client.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use tokio::time::timeout;

use crate::config::{ListenerEdge, ProxyIn};
use crate::net::proxy_protocol::{self, Header, Proxied, ReadError};
use crate::net::{Tarpit, set_options};
use crate::session::{Ledger, Limiter, ListenerIndex, Refusal, Refused, Ticket};

/// The door of a listener, as one worker keeps it.
pub(super) struct Door {
    pub(super) listener: ListenerIndex,
    pub(super) edge: ListenerEdge,
    pub(super) ledger: Arc<Ledger>,
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) tarpit: Tarpit,
}

impl Door {
    /// Readies a client's socket, and says what has to be read from it first. An error is a
    /// connection that has to be closed; it is counted.
    pub(super) fn knock(
        &self,
        socket: &TcpStream,
        from: SocketAddr,
    ) -> Result<Option<&ProxyIn>, ()> {
        set_options(socket, &self.edge.tcp);
        match &self.edge.proxy_protocol {
            Some(proxy) if !proxy.trusts(from.ip()) => {
                tracing::debug!(client.addr = %from, "not trusted to send a PROXY header");
                self.refuse(Refusal::UntrustedProxy);
                Err(())
            }
            proxy => Ok(proxy.as_ref()),
        }
    }

    /// Reads whose connection it is. None if there is nobody to be served.
    pub(super) async fn ask(
        &self,
        proxy: &ProxyIn,
        socket: TcpStream,
        from: SocketAddr,
    ) -> Option<(TcpStream, Option<Box<Proxied>>)> {
        let mut socket = tokio::net::TcpStream::from_std(socket).ok()?;
        let header = match timeout(proxy.timeout, proxy_protocol::read(&mut socket)).await {
            Ok(Ok(header)) => header,
            // A probe.
            Ok(Err(ReadError::Nothing)) => return None,
            Ok(Err(error)) => {
                tracing::debug!(client.addr = %from, %error, "no PROXY header");
                self.refuse(Refusal::ProxyHeader);
                if let Some(wait) = self.tarpit.enter() {
                    wait.await;
                }
                return None;
            }
            Err(_) => {
                tracing::debug!(client.addr = %from, "no PROXY header in time");
                self.refuse(Refusal::ProxyHeader);
                return None;
            }
        };
        let proxied = match header {
            Header::Local => None,
            Header::Proxied(proxied) => Some(Box::new(proxied)),
        };
        Some((socket.into_std().ok()?, proxied))
    }

    /// Counts a connection of a client; refused if it makes too many.
    pub(super) fn connection(&self, client: SocketAddr) -> Result<(), Refused> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let counted = limiter.connection(self.listener, client.ip());
        counted.inspect_err(|refused| self.refuse(refused.why))
    }

    /// Counts a raw session of a client; refused if there are too many.
    pub(super) fn session(&self, client: SocketAddr) -> Result<Option<Box<Ticket>>, Refused> {
        let Some(limiter) = &self.limiter else {
            return Ok(None);
        };
        let counted = limiter.session(self.listener, client.ip());
        counted.inspect_err(|refused| self.refuse(refused.why))
    }

    fn refuse(&self, why: Refusal) {
        self.ledger.refused(self.listener, why);
    }
}
