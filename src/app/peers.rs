//! The peers that late arrivals are forwarded to: as agents, but for their addresses.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Balance, Listener, ProxyOut, Upstream, UpstreamEdge, UpstreamName};
use crate::net::{Dialled, Endpoints};

/// What logs and metrics call a peer: the key that names it.
const NAME: &str = "forward_to";

/// The peer of a listener, if it has one. It is given the time that the listener's agent is, and the
/// index of an upstream.
pub(super) fn endpoints(index: u16, listener: &Listener, agent: &Upstream) -> Option<Endpoints> {
    let peer = Upstream {
        name: UpstreamName(NAME.into()),
        endpoints: vec![listener.forward_to.clone()?],
        balance: Balance::Least,
        check: None,
        eject: None,
        // What holds of the agent's certificate says nothing of the peer's.
        tls: None,
        edge: UpstreamEdge {
            // A peer is as this listener is: it wants to be told, too.
            proxy_protocol: match &listener.edge.proxy_protocol {
                Some(_) => ProxyOut::V2,
                None => ProxyOut::Off,
            },
            ..agent.edge
        },
        ..agent.clone()
    };
    Some(Endpoints::new(index, &peer))
}

/// Whether a late arrival comes from the peer that it would be passed to, which is late itself
/// then: it would have it back from us, and so on.
pub(super) fn passes_back(peer: &Dialled, client: SocketAddr) -> bool {
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
