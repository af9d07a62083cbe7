//! Tasks of a worker, none of them without an owner.

use tokio_util::task::TaskTracker;

/// Spawns on the worker's own thread, and knows when all of them have gone.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Nothing spawned yet.
    pub fn new() -> Tasks {
        Tasks::default()
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
        tokio::task::spawn_local(self.0.track_future(future));
    }

    /// Waits until none is running.
    pub async fn all_gone(&self) {
        self.0.close();
        self.0.wait().await;
    }

    /// How many are running.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
