//! Who has its turn when: those that say little at once, and those that move much behind them.

use std::mem;
use std::time::Duration;

use mio::event::Event;
use tokio::time::Instant;

use super::Inner;
use crate::relay::relayed::Progress;

/// Who has moved more than this one way in its last turn, in bytes, moves much: it leaves others the precedence.
pub(super) const MUCH: u64 = 4 * 1024;
/// So long those that move much are given turns in a row.
const MOMENT: Duration = Duration::from_micros(25);

impl Inner {
    /// Notes what the kernel says of a socket, and gives the session its turn.
    pub(super) fn on_event(&mut self, event: &Event) {
        let (slot, side) = (event.token().0 / 2, event.token().0 % 2);
        let Some(session) = self.slots.get_mut(slot) else {
            return self.hear(slot, event);
        };
        let flow = &mut session.flows[side];
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            flow.readable = !flow.ended;
            flow.hung_up |= event.is_read_closed() || event.is_error();
            flow.fin = (flow.fin || event.is_read_closed()) && !event.is_error();
        }
        if event.is_error() && flow.ended {
            // No read will tell of a reset behind the end.
            session.note_reset(side);
        }
        match session.moves_much() {
            true => self.queue(slot),
            false => self.give_turn(slot),
        }
    }

    /// Has a session wait until others have had their turn.
    pub(super) fn queue(&mut self, slot: usize) {
        if let Some(session) = self.slots.get_mut(slot)
            && !mem::replace(&mut session.is_queued, true)
        {
            self.again.push_back(slot);
        }
    }

    fn give_turn(&mut self, slot: usize) {
        let Some(session) = self.slots.get_mut(slot) else {
            return;
        };
        session.is_queued = false;
        let before = session.moved();
        let progress = self.turn.with(|turn| session.work(turn));
        for (flow, before) in session.flows.iter_mut().zip(before) {
            flow.moves_much = flow.bytes - before > MUCH;
        }
        if session.is_unheard() {
            self.leaving.push((slot, session.turn));
            self.told += 1;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
        match progress {
            Progress::Waits => {}
            Progress::More => self.queue(slot),
            Progress::Ended(outcome) => self.bury(slot, outcome),
        }
    }

    /// Gives turns to those that wait for them, for a moment: all others come in between.
    pub(super) fn give_more(&mut self) {
        if self.again.is_empty() {
            return;
        }
        let begun = Instant::now();
        for turns in 0..self.again.len() {
            if turns > 0 && begun.elapsed() >= MOMENT {
                break;
            }
            self.turn.look_at_the_clock(turns);
            if let Some(slot) = self.again.pop_front() {
                self.give_turn(slot);
            }
        }
    }
}
