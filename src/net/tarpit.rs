//! Where connections that were refused wait before they are closed. Who makes one after the other makes fewer then, and
//! the kernel, which has some work to do behind each, leaves the core to the sessions.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long they wait: nobody who means well notices it.
const WAIT: Duration = Duration::from_millis(50);
/// So many of a worker wait at once; beyond that they are closed as they come.
const ROOM: usize = 256;

/// A worker's tarpit.
#[derive(Clone, Debug, Default)]
pub struct Tarpit(Rc<Cell<usize>>);

/// The wait of a connection: ready when it may be closed.
#[derive(Debug)]
pub struct Wait {
    timer: Pin<Box<Sleep>>,
    waiting: Rc<Cell<usize>>,
}

impl Tarpit {
    /// Has a connection wait; none, if there is no room for it.
    pub fn enter(&self) -> Option<Wait> {
        let Tarpit(waiting) = self;
        (waiting.get() < ROOM).then(|| {
            waiting.set(waiting.get() + 1);
            Wait {
                timer: Box::pin(sleep(WAIT)),
                waiting: Rc::clone(waiting),
            }
        })
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiting.set(self.waiting.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_waits_as_long_as_there_is_room() {
        let tarpit = Tarpit::default();
        let mut waits: Vec<Wait> = (0..ROOM).filter_map(|_| tarpit.enter()).collect();
        assert_eq!(waits.len(), ROOM);
        assert!(tarpit.enter().is_none());
        let begun = Instant::now();
        for wait in waits.split_off(1) {
            wait.await;
        }
        assert!(begun.elapsed() >= WAIT);
        // One that is given up makes room as well.
        drop(waits);
        assert_eq!((0..=ROOM).filter_map(|_| tarpit.enter()).count(), ROOM + 1);
    }
}
