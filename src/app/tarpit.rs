//! Where connections that were refused wait before they are closed. Who makes one after the other makes fewer then, and
//! the kernel, which has some work to do behind each, leaves the core to the sessions.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

/// How long they wait: nobody who means well notices it.
const WAIT: Duration = Duration::from_millis(50);
/// So many of a worker wait at once; beyond that they are closed as they come.
const ROOM: usize = 256;

/// A worker's tarpit.
#[derive(Clone, Debug, Default)]
pub(super) struct Tarpit(Rc<Cell<usize>>);

impl Tarpit {
    /// Whether another connection may wait.
    pub(super) fn has_room(&self) -> bool {
        self.0.get() < ROOM
    }

    /// Has a connection wait, if there is room, and closes it.
    pub(super) async fn close<S>(self, socket: S) {
        if self.has_room() {
            self.0.set(self.0.get() + 1);
            sleep(WAIT).await;
            self.0.set(self.0.get() - 1);
        }
        drop(socket);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_waits_as_long_as_there_is_room() {
        let (tarpit, socket) = (Tarpit::default(), Rc::new(()));
        let mut waiting: Vec<_> = (0..ROOM)
            .map(|_| Box::pin(tarpit.clone().close(Rc::clone(&socket))))
            .collect();
        for one in &mut waiting {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(one.as_mut().poll(&mut cx).is_pending());
        }
        assert!(!tarpit.has_room());
        let begun = Instant::now();
        tarpit.clone().close(Rc::clone(&socket)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for one in waiting {
            one.await;
        }
        assert!(begun.elapsed() >= WAIT);
        assert!(tarpit.has_room());
        assert_eq!(Rc::strong_count(&socket), 1, "all are closed");
    }
}
