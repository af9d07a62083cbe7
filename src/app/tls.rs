//! The TLS of the listeners, read before anything is served.

use std::sync::Arc;

use crate::config::Config;
use crate::net::tls::{TlsListener, Watch};

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
        match TlsListener::new(settings, listener.protocol) {
            Ok(tls) => Ok(Some(Arc::new(tls))),
            Err(faults) => {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                Err(Error::Tls {
                    of: format!("listener {}", listener.name),
                    what: faults.join("; "),
                })
            }
        }
    };
    config.listeners.iter().map(of).collect()
}

/// The watches over their files.
pub(super) fn watches(config: &Config, tls: &Tls) -> Vec<Watch> {
    let of = config.listeners.iter().zip(tls.iter());
    of.filter_map(|(listener, tls)| {
        Some(Watch::new(listener.name.clone(), Arc::clone(tls.as_ref()?)))
    })
    .collect()
}
