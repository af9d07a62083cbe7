//! The peers that late arrivals are forwarded to: as agents, but for their addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{Config, ProxyOut, Upstream, UpstreamEdge, UpstreamName};
use crate::net::{Endpoints, Socket};

/// What logs and metrics call a peer: the key that names it.
const NAME: &str = "forward_to";

/// The peers' endpoints, by listener. A peer is given the time that the listener's agent is.
pub(super) fn endpoints(config: &Config) -> Arc<[Option<Arc<Endpoints>>]> {
    let of = |listener: &crate::config::Listener| {
        let peer = listener.forward_to.clone()?;
        let mut upstreams = config.upstreams.iter();
        let agent = upstreams.find(|upstream| upstream.name == listener.upstream)?;
        Some(Arc::new(Endpoints::new(&Upstream {
            name: UpstreamName(NAME.into()),
            endpoints: vec![peer],
            edge: UpstreamEdge {
                // A peer is as this listener is: it wants to be told, too.
                proxy_protocol: match &listener.edge.proxy_protocol {
                    Some(_) => ProxyOut::V2,
                    None => ProxyOut::Off,
                },
                ..agent.edge
            },
            ..agent.clone()
        })))
    };
    config.listeners.iter().map(of).collect()
}

/// Whether a late arrival comes from the peer that it would be passed to, which is late itself
/// then: it would have it back from us, and so on.
pub(super) fn passes_back(peer: &Socket, client: SocketAddr) -> bool {
    peer.peer_addr()
        .is_some_and(|peer| is_same(peer.ip(), client.ip()))
}

/// On one machine all have one address, which then tells nothing.
fn is_same(peer: IpAddr, client: IpAddr) -> bool {
    !client.is_loopback() && peer.to_canonical() == client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_machines_that_drain_at_once_do_not_play_ball() {
        for (peer, client, back) in [
            ("10.0.0.7", "10.0.0.7", true),
            ("::ffff:10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("127.0.0.1", "127.0.0.1", false),
        ] {
            let ip = |text: &str| text.parse::<IpAddr>().unwrap();
            assert_eq!(is_same(ip(peer), ip(client)), back, "{peer} and {client}");
        }
    }
}
