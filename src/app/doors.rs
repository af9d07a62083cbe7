//! The listeners' acceptors as seen from outside: where each is bound, and how it is stopped.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};

use crate::net::TcpBound;
use crate::session::ListenerIndex;

/// A listener that a worker is to accept for.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) listener: ListenerIndex,
    pub(super) addr: SocketAddr,
    /// Without one, it is bound by whoever accepts.
    pub(super) bound: Option<TcpBound>,
    pub(super) stop: oneshot::Receiver<Stop>,
}

/// How an acceptor ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// It takes what has come, closes its socket, and says so.
    Close(oneshot::Sender<()>),
    /// It gives its socket away, with what waits there; none if it was closed.
    HandOver(oneshot::Sender<Option<TcpBound>>),
}

/// An acceptor that runs.
#[derive(Debug)]
struct Door {
    /// As it is configured.
    addr: SocketAddr,
    stop: oneshot::Sender<Stop>,
}

/// The listeners' acceptors.
#[derive(Debug)]
pub(super) struct Doors {
    /// By worker.
    ways: Vec<mpsc::UnboundedSender<Opening>>,
    open: BTreeMap<ListenerIndex, Door>,
    /// Who accepts next.
    turn: usize,
}

impl Doors {
    /// None yet, and the ways to the workers that accept.
    pub(super) fn new(ways: Vec<mpsc::UnboundedSender<Opening>>) -> Doors {
        Doors {
            ways,
            open: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Has one of the workers accept.
    pub(super) fn open(
        &mut self,
        listener: ListenerIndex,
        addr: SocketAddr,
        bound: Option<TcpBound>,
    ) {
        let (stop, stopped) = oneshot::channel();
        self.open.insert(listener, Door { addr, stop });
        let way = &self.ways[self.turn % self.ways.len()];
        self.turn += 1;
        // A worker that has gone takes nothing: the process is ending.
        let _ = way.send(Opening {
            listener,
            addr,
            bound,
            stop: stopped,
        });
    }

    /// Where a listener is bound, as it is configured.
    pub(super) fn addr(&self, listener: ListenerIndex) -> Option<SocketAddr> {
        self.open.get(&listener).map(|door| door.addr)
    }

    /// The listener that is bound there.
    pub(super) fn at(&self, addr: SocketAddr) -> Option<ListenerIndex> {
        let mut open = self.open.iter();
        open.find(|(_, door)| door.addr == addr).map(|(at, _)| *at)
    }

    /// Has a listener closed, and says when it is.
    pub(super) fn close(&mut self, listener: ListenerIndex) -> Option<oneshot::Receiver<()>> {
        let (done, closed) = oneshot::channel();
        let door = self.open.remove(&listener)?;
        door.stop.send(Stop::Close(done)).ok()?;
        Some(closed)
    }

    /// Takes a listener's socket away from it, open as it is.
    pub(super) async fn hand_over(&mut self, listener: ListenerIndex) -> Option<TcpBound> {
        let (next, bound) = oneshot::channel();
        let door = self.open.remove(&listener)?;
        door.stop.send(Stop::HandOver(next)).ok()?;
        bound.await.ok().flatten()
    }
}
