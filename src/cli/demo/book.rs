//! The agent's book: what it counted of each session that has ended, and how many are open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::ledger::{Counterpart, Traffic};

/// The book.
#[derive(Debug, Default)]
pub(super) struct Book {
    keep: bool,
    closed: Mutex<HashMap<u32, Counterpart>>,
    open: [AtomicUsize; Traffic::ALL.len()],
    served: AtomicUsize,
}

impl Book {
    /// An empty book. One that does not `keep` counts only, so that an agent can run for ever.
    pub(super) fn new(keep: bool) -> Arc<Book> {
        Arc::new(Book {
            keep,
            ..Book::default()
        })
    }

    /// Opens a session; it is written into the book when the entry is dropped, however that comes
    /// about. A session without an id is counted only.
    pub(super) fn open(self: &Arc<Book>, id: Option<u32>, traffic: Traffic) -> Entry {
        self.open[traffic as usize].fetch_add(1, Ordering::Relaxed);
        Entry {
            book: Arc::clone(self),
            id,
            traffic,
            side: Counterpart::default(),
        }
    }

    /// How many sessions of this kind the agent holds.
    pub(super) fn open_now(&self, traffic: Traffic) -> usize {
        self.open[traffic as usize].load(Ordering::Acquire)
    }

    /// How many sessions have ended.
    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// The sessions that have ended, by their id.
    pub(super) fn closed(&self) -> HashMap<u32, Counterpart> {
        self.closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A session that the agent holds.
#[derive(Debug)]
pub(super) struct Entry {
    book: Arc<Book>,
    id: Option<u32>,
    traffic: Traffic,
    /// What has been counted so far.
    pub side: Counterpart,
}

impl Entry {
    /// Gives a session the id that its client names only later.
    pub(super) fn identify(&mut self, id: u32) {
        self.id = Some(id);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let (true, Some(id)) = (self.book.keep, self.id) {
            let side = std::mem::take(&mut self.side);
            let mut closed = self
                .book
                .closed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // The requests of one HTTP client are entries of their own, and add up.
            closed.entry(id).or_default().merge(side);
        }
        self.book.served.fetch_add(1, Ordering::Relaxed);
        // Last, so that whoever sees no session open finds all of them in the book.
        self.book.open[self.traffic as usize].fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_requests_of_one_client_add_up_in_the_agents_book() {
        let book = Book::new(true);
        for number in 1..=3 {
            let mut entry = book.open(Some(7), Traffic::Http);
            entry.side.received.note(number);
            entry.side.sent.note(Instant::now());
            assert_eq!(book.open_now(Traffic::Http), 1);
        }
        let side = &book.closed()[&7];
        assert_eq!((side.sent.count(), side.received.count()), (3, 3));
        assert_eq!((book.open_now(Traffic::Http), book.served()), (0, 3));
    }

    #[test]
    fn a_book_that_does_not_keep_only_counts() {
        let book = Book::new(false);
        drop(book.open(Some(1), Traffic::Tcp));
        assert!(book.closed().is_empty());
        assert_eq!(book.served(), 1);
    }
}
