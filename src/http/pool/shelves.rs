//! One worker's connections to one agent that wait for the next request.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};

use crate::net::{Member, Seat, Socket, Tick};

use super::Open;

/// Connections kept per worker and endpoint; more than that are closed when they fall idle.
const KEPT: usize = 1024;

/// A connection on which nothing is under way.
pub(super) enum Quiet {
    /// In hyper's hands.
    Hyper(Open),
    /// In nobody's: what was asked on it so far was asked without hyper.
    Bare(Socket),
}

struct Idle {
    connection: Quiet,
    since: Tick,
}

/// The connections to one endpoint.
struct Shelf {
    member: Arc<Member>,
    idle: Vec<Idle>,
}

/// The connections to all endpoints.
pub(super) struct Shelves {
    /// One for each endpoint that was used lately.
    shelves: RefCell<Vec<Shelf>>,
    /// After that time a connection is closed.
    idle_timeout: Duration,
}

/// What use a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The next request may go on it.
    Ready,
    /// hyper has yet to come to the end of the last one.
    NotYet,
    /// None any more: the agent has ended it, or said what it was not asked for.
    Lost,
}

impl Idle {
    /// To be asked no more of one that was lost.
    fn of_use(&mut self, now: Tick, idle_timeout: Duration) -> Use {
        let is_lost = match &mut self.connection {
            Quiet::Hyper(open) => open.sender.is_closed(),
            Quiet::Bare(socket) => !is_silent(socket),
        };
        if is_lost || now.since(self.since) >= idle_timeout {
            return Use::Lost;
        }
        match &self.connection {
            Quiet::Hyper(open) if !open.sender.is_ready() => Use::NotYet,
            _ => Use::Ready,
        }
    }
}

/// Whether there is nothing to read, not even an end. Costs no call of the kernel where the runtime has heard of
/// nothing.
fn is_silent(socket: &mut Socket) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut byte = [0; 1];
    let read = Pin::new(socket).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
    read.is_pending()
}

impl Shelf {
    fn is_of(&self, seat: &Seat) -> bool {
        Arc::ptr_eq(&self.member, seat.member())
    }
}

impl Shelves {
    /// Empty ones.
    pub(super) fn new(idle_timeout: Duration) -> Shelves {
        Shelves {
            shelves: RefCell::default(),
            idle_timeout,
        }
    }

    /// Keeps a connection, where there is room for it and its endpoint takes more.
    pub(super) fn put(&self, seat: &Seat, connection: Quiet) {
        if !seat.member().takes_sessions() {
            return;
        }
        let mut shelves = self.shelves.borrow_mut();
        let known = shelves.iter().position(|shelf| shelf.is_of(seat));
        let at = known.unwrap_or_else(|| {
            shelves.push(Shelf {
                member: Arc::clone(seat.member()),
                idle: Vec::new(),
            });
            shelves.len() - 1
        });
        let idle = &mut shelves[at].idle;
        if idle.len() < KEPT {
            idle.push(Idle {
                connection,
                since: Tick::now(),
            });
        }
    }

    /// The connection used last of those that are ready: it is the least likely to be stale.
    pub(super) fn take(&self, seat: &Seat) -> Option<Quiet> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.iter_mut().find(|shelf| shelf.is_of(seat))?;
        let now = Tick::now();
        for at in (0..shelf.idle.len()).rev() {
            match shelf.idle[at].of_use(now, self.idle_timeout) {
                Use::Ready => return Some(shelf.idle.remove(at).connection),
                Use::NotYet => {}
                Use::Lost => drop(shelf.idle.remove(at)),
            }
        }
        None
    }

    /// Closes those that are of no use, or that nobody has used for too long.
    pub(super) fn sweep(&self) {
        let now = Tick::now();
        self.shelves.borrow_mut().retain_mut(|shelf| {
            shelf
                .idle
                .retain_mut(|idle| idle.of_use(now, self.idle_timeout) != Use::Lost);
            shelf.member.takes_sessions()
        });
    }
}
