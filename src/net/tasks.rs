//! Tasks of a worker, none of them without an owner.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;

/// Spawns on the worker's own thread, and knows when all of them have gone.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    between: Option<Rc<dyn Fn()>>,
}

pin_project! {
    /// A task that lets something else be done before each of its turns.
    struct Courteous<F> {
        #[pin]
        task: F,
        between: Option<Rc<dyn Fn()>>,
    }
}

impl<F: Future> Future for Courteous<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(between) = this.between {
            between();
        }
        this.task.poll(cx)
    }
}

impl Tasks {
    /// Nothing spawned yet.
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Has this done before each turn of a task, so that a crowd of them keeps nothing waiting.
    pub fn with_between(self, between: impl Fn() + 'static) -> Tasks {
        Tasks {
            between: Some(Rc::new(between)),
            ..self
        }
    }

    /// Runs a future on this thread until it ends.
    ///
    /// # Panics
    /// Outside of a `LocalRuntime`.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where a worker spawns"
    )]
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let task = Courteous {
            task: future,
            between: self.between.clone(),
        };
        tokio::task::spawn_local(self.tracker.track_future(task));
    }

    /// Waits until none is running.
    pub async fn all_gone(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// How many are running.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.tracker).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::{LocalSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn something_else_is_done_before_each_turn() {
        let count = Rc::new(Cell::new(0));
        let seen = Rc::clone(&count);
        let tasks = Tasks::new().with_between(move || seen.set(seen.get() + 1));
        let run = async {
            tasks.spawn(async {
                yield_now().await;
                yield_now().await;
            });
            tasks.all_gone().await;
        };
        LocalSet::new().run_until(run).await;
        assert_eq!(count.get(), 3);
    }
}
