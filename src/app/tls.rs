//! What `tls` tables name, read before it is served.

use std::sync::Arc;

use crate::config::{Listener, Upstream};
use crate::net::tls::{Fault, Tls, TlsListener};

use super::error::Error;

/// Reads what the `tls` table of a listener names, if it has one.
///
/// # Errors
/// With everything that is wrong with it.
pub(super) fn listener(listener: &Listener) -> Result<Option<Arc<TlsListener>>, Error> {
    let Some(settings) = &listener.tls else {
        return Ok(None);
    };
    let made = TlsListener::new(settings, listener.protocol);
    let made = made.map_err(|faults| fault(format!("listener {}", listener.name), &faults))?;
    Ok(Some(Arc::new(made)))
}

/// Reads what the `tls` table of an upstream names, if it has one.
///
/// # Errors
/// With everything that is wrong with it.
pub(super) fn upstream(upstream: &Upstream) -> Result<Option<Tls>, Error> {
    let made = upstream.tls.as_ref().map(Tls::of).transpose();
    made.map_err(|faults| fault(format!("upstream {}", upstream.name), &faults))
}

fn fault(of: String, faults: &[Fault]) -> Error {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let what = faults.join("; ");
    Error::Tls { of, what }
}
