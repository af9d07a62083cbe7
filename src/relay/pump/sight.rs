//! Where the pump hears of its sockets, and who waits for them.
//!
//! The runtime watches the pump's readiness set as it does any descriptor: each look at the sessions is then two calls to the kernel,
//! the runtime's and the pump's own, with all between that a runtime does. Where sessions have something to say all the time, the
//! sets change places: the pump's watches the runtime's, and the thread waits in the pump.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::Inner;
use crate::net::watch;

/// Events taken from the kernel at once, and so the sessions served before the worker's other
/// tasks have their turn.
const EVENTS: usize = 256;
/// The runtime's set among the pump's sockets.
const RUNTIME: Token = Token(usize::MAX);
/// Turns that follow each other so closely are worth that the pump waits for the next one itself.
const CLOSELY: Duration = Duration::from_micros(500);
/// So many more of these than others.
const HABIT: u8 = 32;
/// So long without a word from a session, and the runtime waits again: its timers may have been as late. No shorter, for a timer
/// that comes before the kernel's own tick is set and taken back in each wait, and costs more than all else in it.
const SILENCE: Duration = Duration::from_millis(10);

/// The pump's readiness set.
#[derive(Debug)]
pub(super) struct Sight {
    poll: mio::Poll,
    /// What the runtime watches: kept, for there may be no descriptor left when the sets change places.
    registry: Rc<Registry>,
    events: Events,
    /// As the runtime watches it; without this, the pump waits.
    watched: Option<AsyncFd<Rc<Registry>>>,
    /// The runtime's own, where it is known.
    runtime: Option<RawFd>,
    /// The runtime's has been seen to have something, which the runtime has not been left to look for.
    runtime_is_ready: bool,
    /// There may be more than the last look has found.
    is_full: bool,
    /// What has become of a change of places.
    broken: Option<io::Error>,
    habit: u8,
    /// When it was looked at last.
    looked: Instant,
    /// When something was seen last.
    seen: Instant,
}

impl Sight {
    /// A readiness set that the runtime of the calling thread watches.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(super) fn new(poll: mio::Poll, registry: Rc<Registry>) -> io::Result<Sight> {
        let watched = watch::readable(Rc::clone(&registry))?;
        Ok(Sight {
            runtime: watch::watcher(watched.as_raw_fd()),
            watched: Some(watched),
            poll,
            registry,
            events: Events::with_capacity(EVENTS),
            runtime_is_ready: false,
            is_full: false,
            broken: None,
            habit: 0,
            looked: Instant::now(),
            seen: Instant::now(),
        })
    }

    /// When it was looked at last.
    pub(super) fn looked(&self) -> Instant {
        self.looked
    }

    /// Whether the runtime's set is watched here, and not this one there.
    pub(super) fn is_outer(&self) -> bool {
        self.watched.is_none()
    }

    /// Whether there may be more than the last look has found.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Ready when the runtime has seen something here; it has to be looked at then.
    ///
    /// # Errors
    /// When the runtime is ending, or the sets could not change places.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(e) = self.broken.take() {
            return Poll::Ready(Err(e));
        }
        match &mut self.watched {
            // What comes from here on is an edge.
            Some(watched) => watched
                .poll_read_ready_mut(cx)
                .map_ok(|mut guard| guard.clear_ready()),
            None => Poll::Pending,
        }
    }

    /// Whether the pump should wait now, in the runtime's place. If so, the sets have changed places.
    pub(super) fn is_to_wait(&mut self) -> bool {
        if self.is_outer() {
            return true;
        }
        let Some(runtime) = self.runtime.filter(|_| self.habit == HABIT) else {
            return false;
        };
        // The kernel has no sets that watch each other.
        self.watched = None;
        let registry = self.poll.registry();
        let watched = registry.register(&mut SourceFd(&runtime), RUNTIME, Interest::READABLE);
        if watched.is_err() {
            // The first wait is the last one then.
            (self.runtime, self.runtime_is_ready) = (None, true);
        }
        true
    }

    /// Waits in the runtime's place, and gives a turn to who has more to do or something to say. True if the runtime should
    /// have its own turn now.
    pub(super) fn wait(&mut self, inner: &mut Inner) -> bool {
        let told = inner.told;
        inner.give_more();
        let at_once = !inner.again.is_empty() || self.runtime_is_ready;
        let wait = if at_once { Duration::ZERO } else { SILENCE };
        let looked = self.look(wait, inner);
        let is_silent = self.looked - self.seen >= SILENCE;
        // An error is found again by whoever drives the pump, and told there.
        if looked.is_err() || is_silent || self.habit == 0 || self.runtime.is_none() {
            self.wait_no_more();
            return true;
        }
        mem::take(&mut self.runtime_is_ready) || inner.told != told
    }

    /// Leaves it to the runtime to wait.
    fn wait_no_more(&mut self) {
        if let Some(runtime) = self.runtime {
            // Whether or not it is found there, it is not.
            let _ = self.poll.registry().deregister(&mut SourceFd(&runtime));
        }
        self.habit = 0;
        self.runtime_is_ready = false;
        self.be_watched();
    }

    fn be_watched(&mut self) {
        match watch::readable(Rc::clone(&self.registry)) {
            Ok(watched) => self.watched = Some(watched),
            Err(e) => {
                let what = "the sockets of sessions cannot be watched any more";
                let hint = "fs.epoll.max_user_watches limits how many a user may watch";
                let told = format!("{what}: {e}; {hint}");
                self.broken = Some(io::Error::new(e.kind(), told));
            }
        }
    }

    /// As after many turns that followed each other closely, the last of them to come yet.
    #[cfg(test)]
    pub(super) fn form_habit(&mut self) {
        self.habit = HABIT;
        self.seen = Instant::now() + Duration::from_secs(60);
    }

    /// Gives a turn to who has something to say, one batch of them at most; waits so long for the first at most.
    ///
    /// # Errors
    /// Those of the readiness set itself.
    pub(super) fn look(&mut self, wait: Duration, inner: &mut Inner) -> io::Result<()> {
        while let Err(e) = self.poll.poll(&mut self.events, Some(wait)) {
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(e);
            }
        }
        let told = inner.told;
        let (mut seen, mut turns) = (0, 0);
        for event in &self.events {
            seen += 1;
            if event.token() == RUNTIME {
                self.runtime_is_ready = true;
                continue;
            }
            inner.turn.look_at_the_clock(turns);
            turns += 1;
            inner.on_event(event);
        }
        self.looked = Instant::now();
        self.is_full = seen == EVENTS;
        if turns > 0 {
            let is_worth_it = inner.told == told && self.looked - self.seen < CLOSELY;
            self.habit = match is_worth_it {
                true => HABIT.min(self.habit + 1),
                false => self.habit.saturating_sub(1),
            };
            self.seen = self.looked;
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::relay::Pump;
    use crate::session::WorkerIndex;

    /// A pump that waits in the place of the runtime, which has nothing.
    fn that_waits() -> Pump {
        let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
        let mut sight = pump.sight.borrow_mut();
        assert!(!sight.is_to_wait());
        sight.form_habit();
        assert!(sight.is_to_wait());
        sight
            .look(Duration::ZERO, &mut pump.inner.borrow_mut())
            .unwrap();
        sight.runtime_is_ready = false;
        drop(sight);
        pump
    }

    #[tokio::test]
    async fn a_wait_ends_with_what_the_runtime_watches() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let pump = that_waits();
        let mut sight = pump.sight.borrow_mut();
        let inner = &mut pump.inner.borrow_mut();
        let _first = TcpStream::connect(addr).unwrap();
        assert!(sight.wait(inner));
        assert!(sight.is_outer());
        // Somebody else looks in between, and is told what no edge will tell of again.
        let _second = TcpStream::connect(addr).unwrap();
        sight.look(Duration::ZERO, inner).unwrap();
        assert!(sight.wait(inner));
        assert!(sight.is_outer());
        // Of the sessions nothing has been heard for long.
        let _third = TcpStream::connect(addr).unwrap();
        sight.seen = Instant::now() - SILENCE;
        assert!(sight.wait(inner));
        assert!(!sight.is_outer());
    }

    #[tokio::test]
    async fn no_descriptor_is_needed_for_the_runtime_to_wait_again() {
        let pump = that_waits();
        let mut sight = pump.sight.borrow_mut();
        let before = sight.registry.as_raw_fd();
        let _takes_whatever_is_free = TcpListener::bind("127.0.0.1:0").unwrap();
        sight.wait_no_more();
        let watched = sight.watched.as_ref().unwrap();
        assert_eq!(watched.as_raw_fd(), before);
    }

    #[tokio::test]
    async fn a_wait_ends_with_silence() {
        let pump = that_waits();
        let mut sight = pump.sight.borrow_mut();
        sight.seen = Instant::now();
        assert!(sight.wait(&mut pump.inner.borrow_mut()));
        assert!(!sight.is_outer());
        assert!(!sight.is_to_wait());
    }

    #[tokio::test]
    async fn a_runtime_that_cannot_be_watched_waits_itself() {
        let (pump, _never_driven) = Pump::new(WorkerIndex(0)).unwrap();
        let mut sight = pump.sight.borrow_mut();
        sight.form_habit();
        sight.runtime = Some(-1);
        assert!(sight.is_to_wait());
        assert!(sight.wait(&mut pump.inner.borrow_mut()));
        assert!(!sight.is_outer());
        sight.form_habit();
        assert!(!sight.is_to_wait());
    }

    #[tokio::test]
    async fn a_wait_ends_with_what_somebody_waits_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut agent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let pump = that_waits();
        let guest = pump.host(listener.accept().unwrap().0.into()).unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(guest.poll_readable(&cx).is_pending());
        agent.write_all(b"answer").unwrap();
        let mut sight = pump.sight.borrow_mut();
        assert!(sight.wait(&mut pump.inner.borrow_mut()));
        assert!(sight.is_outer());
        assert!(sight.poll_ready(&mut cx).is_pending());
        assert!(guest.poll_readable(&cx).is_ready());
    }
}
