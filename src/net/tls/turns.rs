//! What handshakes take of a worker's time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Where the handshakes of one worker wait for their turn. A step of one takes as long as passing on
/// hundreds of messages, and all sessions would wait behind those that come in a flood. So they have one
/// step in each turn of the worker's loop, and more only as long as all else took in the last.
#[derive(Clone, Debug)]
pub struct Turns(Rc<State>);

#[derive(Debug)]
struct State {
    /// Whose turn it is: whoever has waited longest is next.
    one: Semaphore,
    /// What steps have taken since all else had its turn.
    spent: Cell<Duration>,
    /// What all else took then.
    others: Cell<Duration>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns(Rc::new(State {
            one: Semaphore::new(1),
            spent: Cell::default(),
            others: Cell::default(),
        }))
    }
}

impl Turns {
    /// Takes a step when its turn has come.
    pub(super) async fn take<T>(&self, step: impl FnOnce() -> T) -> T {
        let state = &*self.0;
        // It is never closed, so this is always a permit.
        let _one = state.one.acquire().await;
        let begun = Instant::now();
        let done = step();
        let spent = state.spent.get() + begun.elapsed();
        state.spent.set(spent);
        if spent >= state.others.get() {
            let others = Instant::now();
            yield_now().await;
            state.others.set(others.elapsed());
            state.spent.set(Duration::ZERO);
        }
        done
    }
}

#[cfg(test)]
mod tests {
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
    async fn others_have_their_turn_between_two_steps() {
        let (turns, steps) = (Turns::default(), Rc::new(Cell::new(0)));
        let local = LocalSet::new();
        for _ in 0..50 {
            let (turns, steps) = (turns.clone(), Rc::clone(&steps));
            #[allow(
                clippy::disallowed_methods,
                reason = "a test owns its tasks by its runtime"
            )]
            local.spawn_local(async move {
                turns
                    .take(|| {
                        work();
                        steps.set(steps.get() + 1);
                    })
                    .await;
            });
        }
        let most = local.run_until(async {
            let (mut seen, mut most) = (0, 0);
            while seen < 50 {
                yield_now().await;
                most = most.max(steps.get() - seen);
                seen = steps.get();
            }
            most
        });
        // One, or some where the other's turn was long on a machine that is busy; not all in a row.
        let most = most.await;
        assert!(most < 25, "{most} steps in a row");
    }
}
