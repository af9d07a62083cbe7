//! The TLS of the listeners, read before anything is served.

use std::sync::Arc;

use crate::config::Config;
use crate::net::tls::{self, TlsListener, Watch};

use super::error::Error;

/// By listener.
pub(super) type Tls = Arc<[Option<Arc<TlsListener>>]>;

/// Reads what the `tls` tables of the listeners name.
///
/// # Errors
/// With everything that is wrong with the first of them that has faults.
pub(super) fn listeners(config: &Config) -> Result<Tls, Error> {
    let of = |listener: &crate::config::Listener| {
        let Some(settings) = &listener.tls else {
            return Ok(None);
        };
        let made = TlsListener::new(settings, listener.protocol);
        let made = made.map_err(|faults| fault(format!("listener {}", listener.name), &faults))?;
        Ok(Some(Arc::new(made)))
    };
    config.listeners.iter().map(of).collect()
}

/// Reads what the `tls` tables of the upstreams name; by upstream.
///
/// # Errors
/// With everything that is wrong with the first of them that has faults.
pub(super) fn upstreams(config: &Config) -> Result<Vec<Option<tls::Tls>>, Error> {
    let of = |upstream: &crate::config::Upstream| {
        let made = upstream.tls.as_ref().map(tls::Tls::of).transpose();
        made.map_err(|faults| fault(format!("upstream {}", upstream.name), &faults))
    };
    config.upstreams.iter().map(of).collect()
}

fn fault(of: String, faults: &[tls::Fault]) -> Error {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let what = faults.join("; ");
    Error::Tls { of, what }
}

/// The watches over their files.
pub(super) fn watches(config: &Config, tls: &Tls) -> Vec<Watch> {
    let of = config.listeners.iter().zip(tls.iter());
    of.filter_map(|(listener, tls)| {
        Some(Watch::new(listener.name.clone(), Arc::clone(tls.as_ref()?)))
    })
    .collect()
}
