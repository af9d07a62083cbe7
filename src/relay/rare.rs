//! What few sessions have, apart from the rest, so that the others are none the larger for it.

use std::sync::Arc;

use crate::session::Ticket;

use super::meter::Meter;
use super::patience::micros;
use super::pump::Tunnel;
use super::relayed::{Relayed, Speech};

/// What few sessions have.
#[derive(Debug)]
pub(super) struct Rare {
    /// What names the client behind its address.
    key: Option<Arc<str>>,
    /// Set where messages have a largest size.
    pub(super) meter: Option<Box<Meter>>,
    /// Held where a limit counts the session.
    _ticket: Option<Box<Ticket>>,
}

impl Rare {
    /// What a session has of it; none if it has nothing.
    pub(super) fn of(tunnel: &mut Tunnel) -> Option<Box<Rare>> {
        let most = tunnel.max_message;
        let most = most.filter(|_| tunnel.speech == Speech::Websocket);
        let meter = most.map(|(most, close)| Meter::new(most, micros(close)));
        let (key, ticket) = (tunnel.client_key.take(), tunnel.ticket.take());
        let has_any = key.is_some() || ticket.is_some() || meter.is_some();
        has_any.then(|| {
            Box::new(Rare {
                key,
                meter,
                _ticket: ticket,
            })
        })
    }
}

impl Relayed {
    /// What names the client behind its address.
    pub(super) fn key(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.key.as_ref()
    }

    /// The meter, where messages have a largest size.
    #[inline]
    pub(super) fn meter(&self) -> Option<&Meter> {
        self.rare.as_ref()?.meter.as_deref()
    }

    /// Likewise.
    #[inline]
    pub(super) fn meter_mut(&mut self) -> Option<&mut Meter> {
        self.rare.as_mut()?.meter.as_deref_mut()
    }
}
