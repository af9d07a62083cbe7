//! Where connections that were refused wait before they are closed. Who makes one after the other makes fewer then, and
//! the kernel, which has some work to do behind each, leaves the core to the sessions. Who goes on sending is read, so that
//! no reset destroys the answer, but all of them together no faster than one alone.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long they wait at least: nobody who means well notices it.
const WAIT: Duration = Duration::from_secs(1);
/// And so much longer for each that waits beside them: they do not come back all at once, and a crowd of whatever size
/// makes so many a second at most.
const EACH: Duration = Duration::from_micros(500);
/// Between two reads of what one sends, times how many send.
const PAUSE: Duration = Duration::from_millis(5);

/// A worker's tarpit.
#[derive(Clone, Debug)]
pub struct Tarpit {
    waiting: Count,
    room: usize,
    /// Those that go on sending.
    sending: Count,
}

/// How many there are.
type Count = Rc<Cell<usize>>;

/// The wait of a connection, until it may be closed or read on.
#[derive(Debug)]
pub struct Wait {
    timer: Pin<Box<Sleep>>,
    among: Count,
}

impl Tarpit {
    /// Where so many wait at once; beyond that they are closed as they come.
    pub fn new(room: usize) -> Tarpit {
        Tarpit {
            waiting: Rc::default(),
            room,
            sending: Rc::default(),
        }
    }

    /// Has a connection wait until it is closed; none, if there is no room for it.
    pub fn enter(&self) -> Option<Wait> {
        let has_room = self.waiting.get() < self.room;
        has_room.then(|| Wait::among(&self.waiting, |beside| WAIT + EACH.saturating_mul(beside)))
    }

    /// Has a connection wait until more of what it sends is read, to be thrown away.
    pub fn pause(&self) -> Wait {
        Wait::among(&self.sending, |beside| PAUSE.saturating_mul(beside + 1))
    }
}

impl Wait {
    /// Begins one, as long as it has to be beside so many.
    fn among(count: &Count, length: impl FnOnce(u32) -> Duration) -> Wait {
        let beside = count.get();
        count.set(beside + 1);
        Wait {
            timer: Box::pin(sleep(length(u32::try_from(beside).unwrap_or(u32::MAX)))),
            among: Rc::clone(count),
        }
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
        self.among.set(self.among.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
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

    /// How long a crowd takes, of which each is read twenty times.
    async fn all_read(crowd: usize) -> Duration {
        let tarpit = Tarpit::new(0);
        let begun = Instant::now();
        let all = (0..crowd).map(|_| async {
            for _ in 0..20 {
                tarpit.pause().await;
            }
        });
        join_all(all).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_go_on_sending_are_read_no_faster_than_one() {
        let one = all_read(1).await;
        assert!(one >= 20 * PAUSE && one < 30 * PAUSE, "{one:?}");
        for crowd in [10, 100] {
            let all = all_read(crowd).await;
            let crowd = u32::try_from(crowd).unwrap();
            assert!(all >= 19 * PAUSE * crowd, "{all:?} for {crowd}");
            assert!(all <= 30 * PAUSE * crowd, "{all:?} for {crowd}");
        }
    }
}
