//! What `tls` tables name, read before it is served.

use std::sync::Arc;

use crate::config::{Config, Listener, Upstream};
use crate::net::tls::{Fault, Tls, TlsListener};

use super::error::Error;

/// What the `tls` tables of a configuration name, in its order.
pub(super) struct Secrets {
    pub(super) listeners: Vec<Option<Arc<TlsListener>>>,
    pub(super) upstreams: Vec<Option<Tls>>,
}

/// Reads all of it, as `check` does.
///
/// # Errors
/// With everything that is wrong with the first table that has faults.
pub(super) fn read(config: &Config) -> Result<Secrets, Error> {
    let listeners = config.listeners.iter().map(listener);
    let upstreams = config.upstreams.iter().map(upstream);
    Ok(Secrets {
        listeners: listeners.collect::<Result<_, _>>()?,
        upstreams: upstreams.collect::<Result<_, _>>()?,
    })
}

fn listener(listener: &Listener) -> Result<Option<Arc<TlsListener>>, Error> {
    let Some(settings) = &listener.tls else {
        return Ok(None);
    };
    let made = TlsListener::new(settings, listener.protocol);
    let made = made.map_err(|faults| fault(format!("listener {}", listener.name), &faults))?;
    Ok(Some(Arc::new(made)))
}

fn upstream(upstream: &Upstream) -> Result<Option<Tls>, Error> {
    let made = upstream.tls.as_ref().map(Tls::of).transpose();
    made.map_err(|faults| fault(format!("upstream {}", upstream.name), &faults))
}

fn fault(of: String, faults: &[Fault]) -> Error {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let what = faults.join("; ");
    Error::Tls { of, what }
}
