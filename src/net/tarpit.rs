//! Where connections that were refused wait before they are closed. Who makes one after the other makes fewer then, and
//! the kernel, which has some work to do behind each, leaves the core to the sessions.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long they wait at least: nobody who means well notices it.
const WAIT: Duration = Duration::from_millis(200);
/// And so much longer for each that waits beside them: they do not come back all at once, and a crowd of whatever size
/// makes so many a second at most.
const EACH: Duration = Duration::from_micros(500);

/// A worker's tarpit.
#[derive(Clone, Debug)]
pub struct Tarpit {
    waiting: Rc<Cell<usize>>,
    room: usize,
}

/// The wait of a connection: ready when it may be closed.
#[derive(Debug)]
pub struct Wait {
    timer: Pin<Box<Sleep>>,
    waiting: Rc<Cell<usize>>,
}

impl Tarpit {
    /// Where so many wait at once; beyond that they are closed as they come.
    pub fn new(room: usize) -> Tarpit {
        Tarpit {
            waiting: Rc::default(),
            room,
        }
    }

    /// Has a connection wait; none, if there is no room for it.
    pub fn enter(&self) -> Option<Wait> {
        let waiting = self.waiting.get();
        (waiting < self.room).then(|| {
            self.waiting.set(waiting + 1);
            let beside = u32::try_from(waiting).unwrap_or(u32::MAX);
            Wait {
                timer: Box::pin(sleep(WAIT + EACH.saturating_mul(beside))),
                waiting: Rc::clone(&self.waiting),
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
        let tarpit = Tarpit::new(10);
        let mut waits: Vec<Wait> = (0..10).filter_map(|_| tarpit.enter()).collect();
        assert_eq!(waits.len(), 10);
        assert!(tarpit.enter().is_none());
        let begun = Instant::now();
        for wait in waits.split_off(1) {
            wait.await;
        }
        assert!(begun.elapsed() >= WAIT);
        // One that is given up makes room as well.
        drop(waits);
        assert_eq!((0..=10).filter_map(|_| tarpit.enter()).count(), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_any_size_makes_so_many_a_second() {
        let tarpit = Tarpit::new(1_000);
        let begun = Instant::now();
        let waits: Vec<Wait> = (0..1_000).filter_map(|_| tarpit.enter()).collect();
        let mut ends = Vec::new();
        for wait in waits {
            wait.await;
            ends.push(begun.elapsed());
        }
        assert!(ends[0] >= WAIT);
        let last = ends[999];
        assert!(last >= EACH * 999 && last < WAIT + EACH * 1_010, "{last:?}");
    }
}
