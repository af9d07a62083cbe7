//! The addresses that the crowd comes to, and what stands on the way to them.

use std::net::SocketAddr;
use std::time::Duration;

use super::over_tls::Tls;
use crate::harness::delay::Delay;
use crate::harness::secured::{Certified, Secured};
use crate::harness::stunnel::{Ends, Stunnel};

/// Where the clients come to.
#[derive(Clone, Copy)]
pub(crate) struct Fronts {
    pub(crate) chat: SocketAddr,
    pub(crate) web: SocketAddr,
    /// Raw TCP, where the subject offers it.
    pub(crate) raw: Option<SocketAddr>,
}

/// The same, from afar.
pub(crate) struct Far {
    pub(crate) fronts: Fronts,
    _relays: Vec<Delay>,
    _secured: Vec<Secured>,
    stunnels: Vec<Stunnel>,
}

impl Fronts {
    /// At a distance of `one_way`; with none, as they are.
    pub(crate) async fn seen_from_afar(self, one_way: Duration) -> Far {
        let (mut fronts, mut relays) = (self, Vec::new());
        if !one_way.is_zero() {
            for addr in fronts.each() {
                let relay = Delay::before(*addr, one_way).await;
                *addr = relay.addr;
                relays.push(relay);
            }
        }
        Far {
            fronts,
            _relays: relays,
            _secured: Vec::new(),
            stunnels: Vec::new(),
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut SocketAddr> {
        [Some(&mut self.chat), Some(&mut self.web), self.raw.as_mut()]
            .into_iter()
            .flatten()
    }
}

impl Far {
    /// With TLS on the way.
    pub(super) async fn over(mut self, tls: Tls, certified: &Certified) -> Far {
        for addr in self.fronts.each() {
            match tls {
                Tls::Rustls => {
                    let relay = certified.before(*addr).await;
                    *addr = relay.addr;
                    self._secured.push(relay);
                }
                Tls::OpenSsl => {
                    let relay = certified.before_with_openssl(*addr);
                    *addr = relay.addr;
                    self.stunnels.push(relay);
                }
            }
        }
        self
    }

    /// How all connections over OpenSSL ended, once they have; nothing, where there are none.
    /// Unbounded.
    pub(crate) async fn ends_over_openssl(&self) -> Option<Ends> {
        let mut all = Ends::default();
        for stunnel in &self.stunnels {
            let ends = stunnel.ends().await;
            all.connections += ends.connections;
            all.torn.extend(ends.torn);
        }
        (!self.stunnels.is_empty()).then_some(all)
    }
}
