//! What handshakes take of a worker's time.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::helper::Helper;

/// The helper is late with a step that takes it so long, its rest behind the one before included: then there is no time
/// to spare. It may have to wait for its core a few ticks of the kernel's, of 4 ms each, where there is some.
const LATE: Duration = Duration::from_millis(20);

/// Where the handshakes of one worker wait for their turn. A step of one takes as long as passing on
/// hundreds of messages, and all sessions would wait behind those that come in a flood. So they are left to a
/// helper, one at a time; where it does not get on, they have one step in each turn of the worker's loop, and more
/// only as long as all else took in the last.
#[derive(Clone, Debug)]
pub struct Turns(Rc<State>);

#[derive(Debug)]
struct State {
    /// Whose turn it is: whoever has waited longest is next.
    one: Semaphore,
    helper: Helper,
    /// What steps have taken since all else had its turn.
    spent: Cell<Duration>,
    /// What all else took then.
    others: Cell<Duration>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns(Rc::new(State {
            one: Semaphore::new(1),
            helper: Helper::default(),
            spent: Cell::default(),
            others: Cell::default(),
        }))
    }
}

impl Turns {
    /// Notes whether there are sessions that would feel a flood of handshakes.
    pub fn note_others(&self, there_are: bool) {
        self.0.helper.has_to_rest(there_are);
    }

    /// Takes a step when its turn has come.
    ///
    /// # Errors
    /// When it has panicked beside the worker.
    pub(super) async fn take<T: Send + 'static>(
        &self,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let state = &*self.0;
        // It is never closed, so this is always a permit.
        let one = state.one.acquire().await;
        match state.helper.give(step) {
            Ok(mut told) => {
                let done = match timeout(LATE, &mut told).await {
                    Ok(done) => done,
                    Err(_) => {
                        state.helper.is_late();
                        // The others go on here.
                        drop(one);
                        told.await
                    }
                };
                done.map_err(|_| io::Error::other("a step of the handshake has panicked"))
            }
            Err(step) => Ok(state.take_here(step).await),
        }
    }
}

impl State {
    async fn take_here<T>(&self, step: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = step();
        let spent = self.spent.get() + begun.elapsed();
        self.spent.set(spent);
        if spent >= self.others.get() {
            let others = Instant::now();
            yield_now().await;
            self.others.set(others.elapsed());
            self.spent.set(Duration::ZERO);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread::{ThreadId, current};

    use tokio::task::LocalSet;

    use super::*;

    /// How long a step of the test takes.
    const STEP: Duration = Duration::from_millis(2);

    fn work() {
        let begun = Instant::now();
        while begun.elapsed() < STEP {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_between_two_steps_without_a_helper() {
        let (turns, steps) = (Turns::default(), Arc::new(AtomicUsize::new(0)));
        turns.0.helper.is_late();
        let local = LocalSet::new();
        for _ in 0..50 {
            let (turns, steps) = (turns.clone(), Arc::clone(&steps));
            #[allow(
                clippy::disallowed_methods,
                reason = "a test owns its tasks by its runtime"
            )]
            local.spawn_local(async move {
                let step = turns.take(move || {
                    work();
                    steps.fetch_add(1, Ordering::Relaxed);
                });
                step.await.unwrap();
            });
        }
        let most = local.run_until(async {
            let (mut seen, mut most) = (0, 0);
            while seen < 50 {
                yield_now().await;
                let now = steps.load(Ordering::Relaxed);
                most = most.max(now - seen);
                seen = now;
            }
            most
        });
        // One, or some where the other's turn was long on a machine that is busy; not all in a row.
        let most = most.await;
        assert!(most < 25, "{most} steps in a row");
    }

    #[tokio::test]
    async fn where_the_helper_does_not_get_on_the_others_go_on_here() {
        let turns = Turns::default();
        let (go_on, wait) = mpsc::channel();
        let thread = || -> ThreadId { current().id() };
        let late = turns.take(move || {
            wait.recv().unwrap();
            thread()
        });
        let others = async {
            let other = turns.take(thread).await.unwrap();
            go_on.send(()).unwrap();
            other
        };
        let both = async { tokio::join!(late, others) };
        let (late, other) = timeout(Duration::from_secs(10), both).await.unwrap();
        assert_eq!(other, thread());
        assert_ne!(late.unwrap(), thread());
    }

    #[tokio::test]
    async fn a_step_that_panics_beside_is_an_error() {
        let turns = Turns::default();
        let step = || -> () { panic!("a bug") };
        assert!(turns.take(step).await.is_err());
    }
}
