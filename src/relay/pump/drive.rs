//! When the pump has its turn: when its sockets have something to say, when those who leave are to be
//! looked at, and in between when a crowd of tasks would keep it waiting.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Pump;

/// So long after a turn of the pump other tasks give it one between two of theirs.
const BREATH: Duration = Duration::from_micros(25);
/// How often a session that was asked to go is looked at while nothing happens on it.
const LOOK: Duration = Duration::from_millis(5);
/// So long the pump waits at a time before the runtime is left to look at its timers, of which it tells nobody.
const LINGER: Duration = Duration::from_millis(1);

impl Pump {
    /// Gives the sessions a turn if they have had none for a while. It is called between
    /// the turns of other tasks, so that a crowd of them holds nobody up.
    pub fn breathe(&self) {
        let mut inner = self.inner.borrow_mut();
        if inner.slots.sessions() == 0 {
            return;
        }
        let mut sight = self.sight.borrow_mut();
        if sight.looked().elapsed() < BREATH {
            return;
        }
        // An error is found again by whoever drives the pump, and told there.
        let _ = sight.look(Duration::ZERO, &mut inner);
        if let (false, Some(waker)) = (inner.again.is_empty(), &inner.waker) {
            waker.wake_by_ref();
        }
    }

    /// Waits for the sessions in the runtime's place, where they have something to say all the time, and until
    /// somebody else has something to do. It is called when the runtime would go to sleep.
    pub fn linger(&self) {
        let mut sight = self.sight.borrow_mut();
        if !sight.is_to_wait() {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        let begun = Instant::now();
        while !sight.wait(&mut inner) && sight.looked() - begun < LINGER {}
        // The runtime looks at its sockets and timers, and does not go to sleep.
        if let Some(waker) = &inner.waker {
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
    while !inner.leaving.is_empty() {
        let timer = look.get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        if timer.as_mut().poll(cx).is_pending() {
            break;
        }
        inner.look_at_the_leaving();
        timer.as_mut().reset(Instant::now() + LOOK);
    }
    let mut sight = pump.sight.borrow_mut();
    // Who stays awake never comes to wait for the others.
    let is_awake = !inner.again.is_empty() && sight.is_outer();
    let mut looks = sight.poll_ready(cx)?.is_ready() || sight.is_full() || is_awake;
    while looks {
        sight.look(Duration::ZERO, &mut inner)?;
        // The worker's other tasks are waiting, be there more or not.
        looks = !sight.is_full() && sight.poll_ready(cx)?.is_ready();
    }
    inner.give_more();
    if sight.is_full() || !inner.again.is_empty() {
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}
