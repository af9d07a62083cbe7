//! When the pump has its turn: when its sockets have something to say, when those who leave are to be
//! looked at, and in between when a crowd of tasks would keep it waiting.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::Events;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::watch;

use super::{Inner, Pump};

/// Events taken from the kernel at once, and so the sessions served before the worker's other
/// tasks have their turn.
const EVENTS: usize = 256;
/// So long after a turn of the pump other tasks give it one between two of theirs.
const BREATH: Duration = Duration::from_micros(50);
/// How often a session that was asked to go is looked at while nothing happens on it.
const LOOK: Duration = Duration::from_millis(5);

/// Where the pump hears of its sockets.
#[derive(Debug)]
pub(super) struct Sight {
    readiness: AsyncFd<mio::Poll>,
    events: Events,
    /// When it was looked at last.
    last: Instant,
}

impl Sight {
    /// Watches a readiness set.
    pub(super) fn new(poll: mio::Poll) -> io::Result<Sight> {
        Ok(Sight {
            readiness: watch::readable(poll)?,
            events: Events::with_capacity(EVENTS),
            last: Instant::now(),
        })
    }
}

impl Pump {
    /// Gives the sessions a turn if they have had none for a while. It is called between
    /// the turns of other tasks, so that a crowd of them holds nobody up.
    pub fn breathe(&self) {
        let mut inner = self.inner.borrow_mut();
        if inner.slots.is_empty() {
            return;
        }
        let mut sight = self.sight.borrow_mut();
        if sight.last.elapsed() < BREATH {
            return;
        }
        let Sight {
            readiness,
            events,
            last,
        } = &mut *sight;
        // An error is found again by whoever drives the pump, and told there.
        let _ = attend(readiness.get_mut(), events, &mut inner);
        *last = Instant::now();
        if let (false, Some(waker)) = (inner.again.is_empty(), &inner.waker) {
            waker.wake_by_ref();
        }
    }
}

/// The pump's own task.
pub(super) async fn drive(pump: Pump) -> io::Result<()> {
    let mut look: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |cx| turn(&pump, &mut look, cx)).await
}

/// One turn: the events that are there, at most one batch of them, then the worker's other tasks.
fn turn(
    pump: &Pump,
    look: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut inner = pump.inner.borrow_mut();
    if !inner
        .waker
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        inner.waker = Some(cx.waker().clone());
    }
    inner.give_more();
    while !inner.leaving.is_empty() {
        let timer = look.get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        if timer.as_mut().poll(cx).is_pending() {
            break;
        }
        inner.look_at_the_leaving();
        timer.as_mut().reset(Instant::now() + LOOK);
    }
    if !inner.again.is_empty() {
        cx.waker().wake_by_ref();
    }
    let mut sight = pump.sight.borrow_mut();
    let Sight {
        readiness,
        events,
        last,
    } = &mut *sight;
    loop {
        let mut guard = ready!(readiness.poll_read_ready_mut(cx))?;
        let is_full = attend(guard.get_inner_mut(), events, &mut inner)?;
        *last = Instant::now();
        if is_full {
            // There may be more, but the others are waiting.
            guard.retain_ready();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        guard.clear_ready();
        if !inner.again.is_empty() {
            cx.waker().wake_by_ref();
        }
    }
}

/// Gives a turn to sessions that have something to do, one batch of them at most; true if there may be
/// more.
fn attend(poll: &mut mio::Poll, events: &mut Events, inner: &mut Inner) -> io::Result<bool> {
    while let Err(e) = poll.poll(events, Some(Duration::ZERO)) {
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
    let mut seen = 0;
    for event in &*events {
        inner.turn.look_at_the_clock(seen);
        seen += 1;
        inner.on_event(event);
    }
    Ok(seen == EVENTS)
}
