//! The listeners that speak TLS, as they are now; a reload changes them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::ListenerName;

use super::TlsListener;

/// A listener's name, and its TLS.
type Named = (ListenerName, Arc<TlsListener>);

/// The listeners that speak TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsListeners(Arc<RwLock<Arc<[Named]>>>);

impl TlsListeners {
    /// All of them, in the order of the configuration.
    pub fn now(&self) -> Arc<[Named]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in their place.
    pub fn replace(&self, listeners: impl IntoIterator<Item = Named>) {
        let listeners = listeners.into_iter().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = listeners;
    }
}
