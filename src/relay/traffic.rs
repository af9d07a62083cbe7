//! What a session's own traffic tells of it: who speaks, how often, and who waits for whom.
//!
//! Kept per session in a few words, at the cost of a few instructions per message. What counts as
//! a message is a WebSocket message where frames are followed, and else a read.

use crate::session::Direction;

/// A moment, in microseconds since the worker began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(pub(super) u64);

impl Micros {
    /// Microseconds from `earlier` to this moment.
    pub(super) fn since(self, earlier: Micros) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The rhythm of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rhythm {
    /// Messages so far.
    pub(super) messages: u64,
    /// When the last bytes came.
    pub(super) last: Micros,
    /// The smoothed time between messages, in microseconds; zero before the second.
    pub(super) gap: u32,
}

impl Rhythm {
    fn beat(&mut self, now: Micros, messages: u32) {
        if messages == 0 {
            self.last = now;
            return;
        }
        if self.messages > 0 {
            let gap = now.since(self.last) / u64::from(messages);
            self.gap = smoothed(self.gap, gap);
        }
        self.messages += u64::from(messages);
        self.last = now;
    }
}

/// An exponential average with a weight of one eighth, as RFC 6298 section 2 has it for round
/// trips.
fn smoothed(average: u32, sample: u64) -> u32 {
    let sample = u32::try_from(sample).unwrap_or(u32::MAX);
    if average == 0 {
        return sample.max(1);
    }
    let (average, sample) = (i64::from(average), i64::from(sample));
    let next = average + (sample - average) / 8;
    u32::try_from(next).unwrap_or(u32::MAX).max(1)
}

/// The traffic of both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    rhythms: [Rhythm; Direction::COUNT],
    /// How long the agent takes to answer, in microseconds, smoothed; zero before the first.
    pub(super) answer: u32,
    /// Messages of the agent that followed another of its own: it spoke unasked.
    pub(super) unasked: u32,
    /// Who spoke last.
    pub(super) last: Option<Direction>,
}

impl Traffic {
    /// The rhythm of a direction.
    pub(super) fn of(&self, direction: Direction) -> &Rhythm {
        &self.rhythms[direction.index()]
    }

    /// Notes bytes that held so many message ends.
    #[inline]
    pub(super) fn note(&mut self, direction: Direction, now: Micros, messages: u32) {
        if messages > 0 && direction == Direction::ToClient {
            match self.last {
                Some(Direction::ToUpstream) => {
                    let asked = self.rhythms[Direction::ToUpstream.index()].last;
                    self.answer = smoothed(self.answer, now.since(asked));
                    self.unasked = self.unasked.saturating_add(messages - 1);
                }
                _ => self.unasked = self.unasked.saturating_add(messages),
            }
        }
        self.rhythms[direction.index()].beat(now, messages);
        if messages > 0 {
            self.last = Some(direction);
        }
    }

    /// Whether the agent speaks only when it was spoken to: at most one message in eight came
    /// unasked.
    pub(super) fn agent_only_answers(&self) -> bool {
        u64::from(self.unasked) * 8 <= self.of(Direction::ToClient).messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rhythm_is_found() {
        let mut traffic = Traffic::default();
        for beat in 1..40 {
            traffic.note(Direction::ToClient, Micros(beat * 50_000), 1);
        }
        assert_eq!(traffic.of(Direction::ToClient).gap, 50_000);
        assert!(!traffic.agent_only_answers());
    }

    #[test]
    fn an_agent_that_answers_is_told_from_one_that_pushes() {
        let mut traffic = Traffic::default();
        for beat in 1..20 {
            traffic.note(Direction::ToUpstream, Micros(beat * 50_000), 1);
            traffic.note(Direction::ToClient, Micros(beat * 50_000 + 2_000), 1);
        }
        assert!(traffic.agent_only_answers());
        assert_eq!(traffic.answer, 2_000);
    }
}
