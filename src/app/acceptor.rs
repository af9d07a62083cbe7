//! The accept loop of a listener: one socket, one queue, the connections handed to the worker that
//! holds the fewest.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::config::{LateArrivals, Protocol};
use crate::http::Arrival;
use crate::net::{AcceptError, Listening, TcpBound, bind};
use crate::session::{ListenerIndex, PhaseView};

use super::wiring::{Handed, Shared};

/// After an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a client whose handshake is under way may take to end it, when the listener closes.
const HANDSHAKE: Duration = Duration::from_millis(250);
/// Between two tries to have an address back after a cancelled drain.
const RETRY: Duration = Duration::from_millis(200);

/// The accept loop of one listener.
pub(super) struct Acceptor {
    shared: Shared,
    listener: ListenerIndex,
    addr: SocketAddr,
    closes_when_draining: bool,
}

impl Acceptor {
    pub(super) fn new(shared: Shared, listener: ListenerIndex, bound: &TcpBound) -> Acceptor {
        let settings = &shared.config.listeners[usize::from(listener.0)];
        // An HTTP client is told with a 503; for raw TCP a refused connection is the clear word.
        let closes_when_draining = settings.protocol == Protocol::Tcp
            && shared.config.drain.late_arrivals == LateArrivals::Refuse;
        let addr = bound.socket.local_addr().unwrap_or(settings.bind);
        Acceptor {
            shared,
            listener,
            addr,
            closes_when_draining,
        }
    }

    /// Accepts for as long as it is polled. While a drain refuses, a raw TCP listener is closed;
    /// it is bound again when the drain is cancelled.
    pub(super) async fn run(self, bound: TcpBound) {
        if bound.is_shared {
            return self.run_shared(bound.socket).await;
        }
        let mut next = Some(bound.socket);
        let mut phase = self.shared.phase.clone();
        loop {
            let socket = match next.take() {
                Some(socket) => socket,
                None => match bind(self.addr) {
                    Ok(socket) => socket,
                    Err(e) => {
                        tracing::warn!(error = %e, "the listener cannot be opened again yet");
                        sleep(RETRY).await;
                        continue;
                    }
                },
            };
            let Ok(listening) = Listening::new(socket) else {
                sleep(RETRY).await;
                continue;
            };
            tokio::select! {
                () = self.accept(&listening) => {}
                changed = phase.wait_for(|view| self.is_closed(view)) => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            self.end(&listening).await;
            drop(listening);
            if phase.wait_for(|view| !self.is_closed(view)).await.is_err() {
                return;
            }
        }
    }

    /// The same for a socket that is somebody else's too. It is never closed before the process
    /// ends, nor kept from taking more: who comes while a drain refuses waits in its queue, for the
    /// next process, or for this one when the drain is cancelled.
    async fn run_shared(self, socket: TcpListener) {
        let mut phase = self.shared.phase.clone();
        let listening = match Listening::new(socket) {
            Ok(listening) => listening,
            Err(error) => {
                tracing::error!(%error, "the listener cannot be watched");
                return;
            }
        };
        loop {
            tokio::select! {
                () = self.accept(&listening) => {}
                changed = phase.wait_for(|view| self.is_closed(view)) => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            if phase.wait_for(|view| !self.is_closed(view)).await.is_err() {
                return;
            }
        }
    }

    fn is_closed(&self, view: &PhaseView) -> bool {
        self.closes_when_draining && view.of(self.listener).refuses()
    }

    async fn accept(&self, listening: &Listening) {
        loop {
            match listening.accept().await {
                Ok((socket, client)) => self.hand_out(socket, client),
                Err(AcceptError::Passing(e)) => tracing::debug!(error = %e, "accept"),
                Err(AcceptError::Exhausted(e)) => {
                    tracing::warn!(error = %e, "accept waits");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes what has come and what is about to, and no more, before the socket is closed.
    async fn end(&self, listening: &Listening) {
        match listening.take_no_more() {
            // Handshakes under way are over in a round trip.
            Ok(()) => drop(timeout(HANDSHAKE, self.accept(listening)).await),
            Err(error) => {
                let listener = &self.shared.config.listeners[usize::from(self.listener.0)].name;
                tracing::warn!(%listener, %error, "connections may be reset as the listener closes");
            }
        }
        self.empty(listening);
    }

    /// What is in the queue came before the listener closed: each is taken.
    fn empty(&self, listening: &Listening) {
        while let Some(accepted) = listening.try_accept() {
            match accepted {
                Ok((socket, client)) => self.hand_out(socket, client),
                Err(AcceptError::Passing(_)) => {}
                Err(AcceptError::Exhausted(_)) => return,
            }
        }
    }

    fn hand_out(&self, socket: TcpStream, client: SocketAddr) {
        let ledgers = &self.shared.ledgers;
        let total: usize = ledgers.iter().map(|ledger| ledger.load()).sum();
        let arrival = if total >= self.shared.most {
            Arrival::Overload
        } else if self.shared.phase.borrow().of(self.listener).refuses() {
            Arrival::Late
        } else {
            Arrival::Welcome
        };
        let least = ledgers
            .iter()
            .zip(self.shared.hand.iter())
            .min_by_key(|(l, _)| l.load());
        if let Some((ledger, hand)) = least {
            ledger.assign();
            let listener = self.listener;
            // A worker that has gone takes nothing: the process is ending.
            let _ = hand.send(Handed {
                socket,
                client,
                listener,
                arrival,
            });
        }
    }
}
