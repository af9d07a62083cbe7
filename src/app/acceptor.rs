//! The accept loop of a listener: one socket, one queue, the connections handed to the worker that
//! holds the fewest.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::config::{LateArrivals, Protocol};
use crate::http::Arrival;
use crate::net::{AcceptError, Listening, TcpBound, bind};
use crate::relay::Pump;
use crate::session::{ListenerIndex, PhaseView};

use super::doors::Stop;
use super::wiring::{Handed, Shared};

/// Connections that are accepted in a turn of the worker's loop.
const AT_ONCE: usize = 16;
/// After an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a client whose handshake is under way may take to end it, when the listener closes.
const HANDSHAKE: Duration = Duration::from_millis(250);
/// Between two tries to have an address back after a cancelled drain.
const RETRY: Duration = Duration::from_millis(200);

/// The accept loop of one listener.
pub(super) struct Acceptor {
    shared: Shared,
    /// Whose sessions have their turn between two connections.
    pump: Pump,
    listener: ListenerIndex,
    addr: SocketAddr,
    /// Whether the socket is somebody else's too.
    is_shared: bool,
}

impl Acceptor {
    pub(super) fn new(
        shared: Shared,
        pump: Pump,
        listener: ListenerIndex,
        addr: SocketAddr,
    ) -> Acceptor {
        Acceptor {
            shared,
            pump,
            listener,
            addr,
            is_shared: false,
        }
    }

    /// Accepts until it is told to stop, or the process ends.
    pub(super) async fn run(mut self, bound: Option<TcpBound>, stop: oneshot::Receiver<Stop>) {
        self.is_shared = bound.as_ref().is_some_and(|bound| bound.is_shared);
        if let Some(Ok(addr)) = bound.as_ref().map(|bound| bound.socket.local_addr()) {
            self.addr = addr;
        }
        // One that cannot be watched is bound anew.
        let mut open = bound.and_then(|bound| Listening::new(bound.socket).ok());
        let stop = tokio::select! {
            () = self.serve(&mut open) => return,
            stop = stop => stop,
        };
        match stop {
            Ok(Stop::HandOver(next)) => {
                let bound = open.map(|listening| TcpBound {
                    socket: listening.into_socket(),
                    is_shared: self.is_shared,
                });
                // Whoever has asked waits for it.
                let _ = next.send(bound);
            }
            Ok(Stop::Close(closed)) => {
                // What waits in somebody else's queue is theirs, and a filter on it would outlive us.
                if let Some(listening) = open.filter(|_| !self.is_shared) {
                    self.end(&listening).await;
                }
                let _ = closed.send(());
            }
            Err(_) => {}
        }
    }

    /// Accepts for as long as it is polled. While a drain refuses, a raw TCP listener is closed; it is
    /// bound again when the drain is cancelled. A socket that is somebody else's too is never closed
    /// before the process ends: who comes meanwhile waits in its queue, for the next process, or for
    /// this one when the drain is cancelled.
    async fn serve(&self, open: &mut Option<Listening>) {
        let mut phase = self.shared.phase.clone();
        loop {
            let listening = match open {
                Some(listening) => listening,
                None => match bind(self.addr).and_then(Listening::new) {
                    Ok(listening) => open.insert(listening),
                    Err(e) => {
                        tracing::warn!(error = %e, "the listener cannot be opened again yet");
                        sleep(RETRY).await;
                        continue;
                    }
                },
            };
            tokio::select! {
                () = self.accept(listening) => {}
                changed = phase.wait_for(|view| self.is_closed(view)) => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            if let Some(listening) = open.take_if(|_| !self.is_shared) {
                self.end(&listening).await;
            }
            if phase.wait_for(|view| !self.is_closed(view)).await.is_err() {
                return;
            }
        }
    }

    /// An HTTP client is told with a 503; for raw TCP a refused connection is the clear word.
    fn is_closed(&self, view: &PhaseView) -> bool {
        let closes = self
            .shared
            .plan
            .borrow()
            .at(self.listener)
            .is_some_and(|served| {
                served.settings.protocol != Protocol::Http && served.late == LateArrivals::Refuse
            });
        closes && view.of(self.listener).refuses()
    }

    async fn accept(&self, listening: &Listening) {
        for nth in 1_usize.. {
            if nth.is_multiple_of(AT_ONCE) {
                // The other tasks of the worker that this runs on have a turn too.
                yield_now().await;
            }
            self.pump.breathe();
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
                let addr = self.addr;
                tracing::warn!(%addr, %error, "connections may be reset as the listener closes");
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
        let arrival = if total >= self.shared.plan.borrow().most {
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
