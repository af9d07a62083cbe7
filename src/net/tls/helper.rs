//! The thread beside a worker, which takes steps of its handshakes in the time that others leave it. A step takes
//! as long as passing on hundreds of messages: here it stops as soon as a session has something to say.
//!
//! Where all cores are busy it hardly gets on, and neither would who waits for a lock that it holds. So it has a
//! step at a time, and is left alone for a while when it was late with one.
//!
//! Still the kernel leaves a core to it for up to a tick where who wants that has just had more than his share, and what the
//! kernel itself does for each connection yields to nobody. So where there are sessions a flood has a part of its time only:
//! it rests behind each step.

use std::cell::{Cell, OnceCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use rustix::thread::gettid;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::net::spare_time;

/// So long it is left alone after it was late.
const PAUSE: Duration = Duration::from_secs(10);

/// It rests so many times as long as the step has taken.
const REST: u32 = 2;
/// And no longer than that: a step may have taken long because it was held up.
const LONGEST_REST: Duration = Duration::from_millis(1);

type Step = Box<dyn FnOnce() + Send>;

/// A helper, whose thread begins with its first step and ends with this.
#[derive(Debug, Default)]
pub(super) struct Helper {
    /// Where its steps go; none where there can be no such thread.
    steps: OnceCell<Option<Sender<Step>>>,
    /// Until when it is left alone.
    alone: Cell<Option<Instant>>,
    /// Whether it rests.
    rests: Cell<bool>,
}

impl Helper {
    /// Gives it a step, of which it tells what has come; nothing if the step has panicked. A step whose end nobody waits
    /// for any more by its turn is not taken.
    ///
    /// # Errors
    /// The step, when there is no helper or it is to be left alone.
    pub(super) fn give<T: Send + 'static, S: FnOnce() -> T + Send + 'static>(
        &self,
        step: S,
    ) -> Result<oneshot::Receiver<T>, S> {
        if self.alone.get().is_some_and(|end| Instant::now() < end) {
            return Err(step);
        }
        let Some(steps) = self.steps.get_or_init(begin) else {
            return Err(step);
        };
        let (tell, told) = oneshot::channel();
        let rests = self.rests.get();
        let step: Step = Box::new(move || {
            if !tell.is_closed() {
                let begun = std::time::Instant::now();
                // Who has gone meanwhile does not miss it.
                let _ = tell.send(step());
                if rests {
                    rest_behind(begun.elapsed());
                }
            }
        });
        // The thread is there as long as this is.
        let _ = steps.send(step);
        Ok(told)
    }

    /// Has it rest behind each step that it is given from now on, or not.
    pub(super) fn has_to_rest(&self, it_has: bool) {
        self.rests.set(it_has);
    }

    /// Notes that it was late.
    pub(super) fn is_late(&self) {
        self.alone.set(Some(Instant::now() + PAUSE));
    }
}

/// Rests on the helper's thread behind a step that took so long.
#[allow(clippy::disallowed_methods, reason = "it blocks no worker")]
fn rest_behind(step: Duration) {
    thread::sleep(step.saturating_mul(REST).min(LONGEST_REST));
}

/// Begins the thread; none where the system does not give one that stops for others.
fn begin() -> Option<Sender<Step>> {
    let (tell, told) = mpsc::channel();
    let (steps, coming) = mpsc::channel::<Step>();
    let thread = thread::Builder::new().name("lameduck-tls".to_owned());
    let begun = thread.spawn(move || {
        // By another it is done while this one still has a core to go on with.
        if tell.send(gettid()).is_ok() {
            for step in coming {
                // What has become of it is known by whoever waits for its end.
                let _ = catch_unwind(AssertUnwindSafe(step));
            }
        }
    });
    let stepped_back = begun.and_then(|_| {
        let thread = told.recv().map_err(io::Error::other)?;
        spare_time::leave_only_that_to(thread)
    });
    match stepped_back {
        Ok(()) => Some(steps),
        Err(error) => {
            tracing::info!(
                %error,
                "no thread for TLS handshakes: the worker takes them itself, and sessions feel a flood of them; \
                 it takes a thread more for each worker, and sched_setscheduler(2) to SCHED_IDLE"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
