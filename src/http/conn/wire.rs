//! What the socket's side of a connection and its task tell each other.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::net::Tick;

/// How long a client has, after our FIN, to read what was sent and end its own side.
const LINGER: Duration = Duration::from_secs(1);

/// Where a connection stands between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::http) enum Stage {
    /// Not a byte has come.
    Fresh,
    /// A head has begun.
    Head,
    /// A request is being answered.
    Busy,
    /// Kept alive between requests.
    Idle,
}

/// What is known of a connection's bytes. hyper wants the socket's side `Send`, so these are atomics, though
/// one thread uses them.
#[derive(Debug)]
pub(in crate::http) struct Wire {
    stage: AtomicU8,
    /// The tick of the last change of stage.
    since: AtomicU64,
    /// The tick of the last bytes, by direction.
    last: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    flushed: AtomicBool,
    expired: AtomicBool,
    /// Whether the client's going is to be noticed while it is answered.
    watched: AtomicBool,
    gone: AtomicBool,
    /// The tick since which the client takes nothing of what is written; zero while it does.
    blocked: AtomicU64,
    /// The tick of our FIN; zero before it.
    lingers: AtomicU64,
    /// Whether the client has said that it will send nothing more.
    has_said_all: AtomicBool,
    /// Whether hyper has all of the answer by now.
    is_answered: AtomicBool,
    /// Whether the client was refused.
    refused: AtomicBool,
}

impl Wire {
    pub(in crate::http) fn new() -> Wire {
        let now = Tick::now().as_millis();
        Wire {
            stage: AtomicU8::new(Stage::Fresh as u8),
            since: AtomicU64::new(now),
            last: [AtomicU64::new(now), AtomicU64::new(now)],
            bytes: Default::default(),
            flushed: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            lingers: AtomicU64::new(0),
            has_said_all: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }
    }

    pub(in crate::http) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Fresh,
            1 => Stage::Head,
            2 => Stage::Busy,
            _ => Stage::Idle,
        }
    }

    pub(in crate::http) fn enter(&self, stage: Stage) {
        self.enter_at(stage, Tick::now());
    }

    fn enter_at(&self, stage: Stage, now: Tick) {
        self.is_answered.store(false, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
        self.since.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Notes bytes that came (0) or went (1).
    pub(in crate::http) fn moved(&self, direction: usize, n: u64) {
        let bytes = &self.bytes[direction];
        bytes.store(bytes.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        let now = Tick::now();
        self.last[direction].store(now.as_millis(), Ordering::Relaxed);
        if direction == 1 {
            self.blocked.store(0, Ordering::Relaxed);
        }
        if direction == 0 && matches!(self.stage(), Stage::Fresh | Stage::Idle) {
            self.enter_at(Stage::Head, now);
        }
    }

    /// Notes that the client does not take what is written.
    pub(in crate::http) fn note_blocked(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            let now = Tick::now().as_millis();
            self.blocked.store(now, Ordering::Relaxed);
        }
    }

    /// For how long the client has taken nothing of what waits for it; none if it does.
    pub(super) fn blocked_for(&self) -> Option<Duration> {
        let since = self.blocked.load(Ordering::Relaxed);
        (since > 0).then(|| Tick::from_millis(since).elapsed())
    }

    /// Whether the client's time after our FIN is over, which begins when this is asked first.
    pub(in crate::http) fn has_lingered(&self) -> bool {
        if self.lingers.load(Ordering::Relaxed) == 0 {
            let now = Tick::now().as_millis();
            self.lingers.store(now, Ordering::Relaxed);
        }
        self.is_lingering_for_too_long()
    }

    pub(super) fn is_lingering_for_too_long(&self) -> bool {
        let since = self.lingers.load(Ordering::Relaxed);
        since > 0 && Tick::from_millis(since).elapsed() >= LINGER
    }

    /// Notes that the client was refused: the end waits behind the answer.
    pub(in crate::http) fn note_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether the client was refused, as it was where a head came to no request.
    pub(in crate::http) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.stage() == Stage::Head
    }

    /// Notes whether the client has said that it will send nothing more.
    pub(in crate::http) fn note_has_said_all(&self, it_has: bool) {
        self.has_said_all.store(it_has, Ordering::Relaxed);
    }

    pub(in crate::http) fn has_said_all(&self) -> bool {
        self.has_said_all.load(Ordering::Relaxed)
    }

    /// Whether what is written now is the last of all, and is closed behind.
    pub(in crate::http) fn ends_behind_this(&self) -> bool {
        self.has_said_all() && self.is_answered.load(Ordering::Relaxed) && !self.is_refused()
    }

    /// Notes that everything written so far is in the kernel's hands.
    pub(in crate::http) fn note_flush(&self) {
        self.flushed.store(true, Ordering::Relaxed);
    }

    /// Notes that something is complete, and still has to be flushed.
    pub(super) fn begin_flush(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
        self.flushed.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    /// Has the client's going be noticed while it is answered, or not.
    pub(super) fn watch(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    pub(in crate::http) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Notes that a watched client has ended its side.
    pub(in crate::http) fn note_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(in crate::http) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Notes that a head's time is over; whether it was noted before.
    pub(super) fn expire(&self) -> bool {
        self.expired.swap(true, Ordering::Relaxed)
    }

    pub(in crate::http) fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    /// How many bytes have come (0) or gone (1).
    pub(super) fn bytes(&self, direction: usize) -> u64 {
        self.bytes[direction].load(Ordering::Relaxed)
    }

    pub(super) fn in_stage_for(&self) -> Duration {
        Tick::from_millis(self.since.load(Ordering::Relaxed)).elapsed()
    }

    pub(super) fn idle(&self, direction: usize) -> Duration {
        Tick::from_millis(self.last[direction].load(Ordering::Relaxed)).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is held back for the end to follow would wait as long as the end does.
    #[test]
    fn the_answer_to_who_is_refused_does_not_wait_for_the_end() {
        let wire = Wire::new();
        wire.enter(Stage::Busy);
        wire.note_has_said_all(true);
        wire.begin_flush();
        assert!(wire.ends_behind_this());
        wire.note_refused();
        assert!(!wire.ends_behind_this());
    }
}
