//! The proxy as the demo runs it: in this process, between the agent and the clients.

use std::net::SocketAddr;
use std::time::Duration;

use super::Error;

/// The running proxy.
pub(super) struct Proxy {
    /// Where it takes HTTP, WebSocket and SSE.
    pub http: SocketAddr,
    /// Where it takes TCP.
    pub tcp: SocketAddr,
    /// Where it answers `/readyz` and `/metrics`.
    pub health: SocketAddr,
}

impl Proxy {
    /// Starts it before an agent.
    pub(super) fn start(
        agent_http: SocketAddr,
        agent_tcp: SocketAddr,
        window: Duration,
    ) -> Result<Proxy, Error> {
        let _ = (agent_http, agent_tcp, window);
        Err(Error::Proxy("it is not in this build".to_owned()))
    }

    /// Begins the drain.
    pub(super) fn drain(&self) {}

    /// Waits so long for the end of the drain, and returns its exit code.
    pub(super) fn ended(&self, wait: Duration) -> Result<Option<u8>, Error> {
        let _ = wait;
        Err(Error::Vanished("proxy"))
    }
}
