//! What a listener and an upstream have at the edge: the PROXY protocol, the options of their
//! sockets, the limits, the access log.

mod access_log;
mod limits;
mod proxy_protocol;
mod tcp;

use super::section::{Found, Origin, Reader, Section};
use super::value;

pub use access_log::{AccessLog, AccessLogTo};
pub use limits::{Lifetime, Limits, ListenerLimits, MIN_SPEED_OVER};
pub use proxy_protocol::{Network, ProxyIn, ProxyOut};
pub use tcp::{Keepalive, TcpOptions};

pub(super) use access_log::RawAccessLog;
pub(super) use limits::RawLimits;
use limits::RawListenerLimits;
pub(super) use proxy_protocol::Expected;
use proxy_protocol::RawProxyIn;
use tcp::RawTcpOptions;

/// The edge of a listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenerEdge {
    /// Set where each connection begins with a PROXY protocol header.
    pub proxy_protocol: Option<ProxyIn>,
    /// The options of the clients' sockets.
    pub tcp: TcpOptions,
    /// What clients may take.
    pub limits: ListenerLimits,
}

/// The same as it was read.
pub(super) struct RawListenerEdge {
    proxy_protocol: RawProxyIn,
    tcp: RawTcpOptions,
    /// Where `[listener.limits]` begins, if it is there.
    own_limits: Origin,
    limits: RawListenerLimits,
}

impl RawListenerEdge {
    pub(super) fn read(table: &mut Section<'_>, limits: &RawLimits) -> Self {
        let mut own_limits = table.table("limits");
        Self {
            proxy_protocol: RawProxyIn::read(table),
            tcp: RawTcpOptions::read(table),
            own_limits: own_limits.origin(),
            limits: limits.listener.overridden(&mut own_limits),
        }
    }

    /// Reports what does not fit together; `path` is that of the listener's table.
    pub(super) fn check(&self, path: &str, reader: &Reader<'_>) {
        self.proxy_protocol.check(path, reader);
        let general = !matches!(self.own_limits, Origin::File(_));
        let table = match general {
            true => "limits".to_owned(),
            false => format!("{path}.limits"),
        };
        self.limits.check(&table, reader);
    }

    pub(super) fn into_edge(self) -> ListenerEdge {
        ListenerEdge {
            proxy_protocol: self.proxy_protocol.into_proxy(),
            tcp: self.tcp.into_options(),
            limits: self.limits.into_limits(),
        }
    }
}

/// The edge of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamEdge {
    /// What connections to the agent begin with.
    pub proxy_protocol: ProxyOut,
    /// The options of the agents' sockets.
    pub tcp: TcpOptions,
}

/// The same as it was read.
pub(super) struct RawUpstreamEdge {
    proxy_protocol: Found<ProxyOut>,
    tcp: RawTcpOptions,
}

impl RawUpstreamEdge {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        Self {
            proxy_protocol: table.read("proxy_protocol", value::proxy_out, ProxyOut::Off),
            tcp: RawTcpOptions::read(table),
        }
    }

    pub(super) fn into_edge(self) -> UpstreamEdge {
        UpstreamEdge {
            proxy_protocol: self.proxy_protocol.value,
            tcp: self.tcp.into_options(),
        }
    }
}
