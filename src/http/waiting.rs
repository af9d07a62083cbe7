//! Requests that wait for the head of their response, and for how long they may.
//!
//! One sweep looks at all of them a few times a second: a timer for each would cost more than the
//! rest of waiting.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use super::request_body::Sending;

/// All that wait for one agent.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom(RefCell<Slab<Rc<Sending>>>);

/// A place in the room, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place<'r> {
    room: &'r WaitingRoom,
    slot: usize,
}

impl WaitingRoom {
    /// Has a request wait.
    pub(super) fn enter(&self, sending: &Rc<Sending>) -> Place<'_> {
        let slot = self.0.borrow_mut().insert(Rc::clone(sending));
        Place { room: self, slot }
    }

    /// Ends the wait of those whose request has not moved for `limit`.
    pub(super) fn sweep(&self, limit: Duration) {
        for (_, sending) in self.0.borrow().iter() {
            sending.expire(limit);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.0.borrow_mut().remove(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn who_has_waited_for_too_long_is_told() {
        let room = WaitingRoom::default();
        let sending = Rc::new(Sending::new());
        let place = room.enter(&sending);
        let cx = Context::from_waker(Waker::noop());
        assert!(sending.poll_over(&cx).is_pending());
        room.sweep(Duration::from_secs(3600));
        assert!(sending.poll_over(&cx).is_pending());
        room.sweep(Duration::ZERO);
        assert!(sending.poll_over(&cx).is_ready());
        drop(place);
        assert!(room.0.borrow().is_empty());
    }
}
