//! Where late arrivals go: a peer must be named where it is needed, and must not be ourselves.

use std::net::{Ipv4Addr, SocketAddr};

use crate::config::schema::Raw;
use crate::config::section::{Found, Origin, Reader};
use crate::config::types::{Endpoint, LateArrivals};

/// Reports what is wrong with `late_arrivals` and the places that they are forwarded to.
pub(super) fn check(raw: &Raw, reader: &Reader<'_>) {
    let late = &raw.drain.late_arrivals;
    let of_listeners = raw.listeners.value.iter();
    let of_listeners = of_listeners.map(|listener| {
        (
            format!("{}.forward_to", listener.path),
            &listener.forward_to,
        )
    });
    let all = || {
        let general = ("drain.forward_to".to_owned(), &raw.drain.forward_to);
        std::iter::once(general).chain(of_listeners.clone())
    };
    let given = || all().filter(|(_, peer)| matches!(peer.origin, Origin::File(_)));
    if late.is_sound() && late.value != LateArrivals::Forward {
        for (key, peer) in given() {
            let what = "means nothing unless late arrivals are forwarded".to_owned();
            let help = "write drain.late_arrivals = \"forward\", or leave it out".to_owned();
            reader.warning(&peer.origin, &key, what, help);
        }
    } else if late.is_sound() {
        missing(raw, reader);
    }
    for (key, peer) in given() {
        leads_back(&key, peer, raw, reader);
    }
}

/// Forwarding needs a peer for each listener.
fn missing(raw: &Raw, reader: &Reader<'_>) {
    let without = raw
        .listeners
        .value
        .iter()
        .find(|listener| listener.forward_to.value.is_none() && listener.forward_to.is_sound());
    let Some(listener) = without else { return };
    let named = listener.name.as_ref().map(|name| name.value.to_string());
    let what = format!(
        "`forward` needs a peer, and listener `{}` has none",
        named.as_deref().unwrap_or(&listener.path)
    );
    let help = "write where another proxy listens for the same, as drain.forward_to = \
                \"10.0.0.7:8080\" or as forward_to of each listener";
    reader.error(
        &raw.drain.late_arrivals.origin,
        "drain.late_arrivals",
        what,
        help.to_owned(),
    );
}

/// What is forwarded to ourselves comes back as a late arrival.
fn leads_back(key: &str, peer: &Found<Option<Endpoint>>, raw: &Raw, reader: &Reader<'_>) {
    let Some(addr) = peer.value.as_ref().and_then(addr_of) else {
        return;
    };
    let binds = raw
        .listeners
        .value
        .iter()
        .filter_map(|listener| Some((&listener.path, listener.bind.as_ref()?)));
    for (path, bind) in binds {
        if bind.is_sound() && is_reached_at(bind.value, addr) {
            let what = format!(
                "`{addr}` is this proxy itself: {path}.bind is `{}`",
                bind.value
            );
            let help = "write where another proxy listens".to_owned();
            reader.error(&peer.origin, key, what, help);
            return;
        }
    }
}

/// The address of an endpoint that needs no look-up.
fn addr_of(endpoint: &Endpoint) -> Option<SocketAddr> {
    let text = &*endpoint.0;
    match text.split_once(':') {
        Some(("localhost", port)) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        _ => text.parse().ok(),
    }
}

/// Whether a connection to `addr` surely comes to a socket that is bound to `bind`. Of a wildcard
/// only the loopback address is known to be one of ours.
fn is_reached_at(bind: SocketAddr, addr: SocketAddr) -> bool {
    let (own, other) = (bind.ip().to_canonical(), addr.ip().to_canonical());
    let local = |ip: std::net::IpAddr| ip.is_loopback() || ip.is_unspecified();
    bind.port() == addr.port()
        && bind.port() != 0
        && (own == other
            || (local(own) && local(other) && (own.is_unspecified() || other.is_unspecified())))
}
