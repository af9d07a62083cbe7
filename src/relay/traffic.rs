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
    /// When the last bytes came, be they part of a message or of a Ping.
    pub(super) last: Micros,
    /// When the last message ended; before the first, when the session began.
    pub(super) said: Micros,
    /// The smoothed time between messages, in microseconds; zero before the second.
    pub(super) gap: u32,
    /// How far from it a message comes on average, in microseconds.
    pub(super) deviation: u32,
}

impl Rhythm {
    fn beat(&mut self, now: Micros, messages: u32) {
        self.last = now;
        if messages == 0 {
            return;
        }
        if self.messages > 0 {
            let sample = now.since(self.said) / u64::from(messages);
            let sample = u32::try_from(sample).unwrap_or(u32::MAX);
            if self.gap == 0 {
                self.deviation = sample / 2;
            } else {
                self.deviation = nearer(self.deviation, sample.abs_diff(self.gap), 4);
            }
            self.gap = smoothed(self.gap, sample);
        }
        self.messages += u64::from(messages);
        self.said = now;
    }
}

/// An exponential average with a weight of one eighth; with the deviation's of a quarter, as
/// RFC 6298 section 2 has them for round trips.
fn smoothed(average: u32, sample: u32) -> u32 {
    if average == 0 {
        return sample.max(1);
    }
    nearer(average, sample, 8).max(1)
}

/// The average, nearer to the sample by one part in so many.
fn nearer(average: u32, sample: u32, parts: i64) -> u32 {
    let (average, sample) = (i64::from(average), i64::from(sample));
    let next = average + (sample - average) / parts;
    u32::try_from(next).unwrap_or(u32::MAX)
}

/// The shortest silence behind which an answer in many messages is over, in microseconds.
const PAUSE: u64 = 50_000;
/// Such a silence is so many of the gaps within the answer.
const GAPS: u64 = 4;

/// Answers in many messages, as of a model that streams its words.
#[derive(Clone, Copy, Debug, Default)]
struct Streaming {
    /// Messages of the agent since the client spoke last.
    burst: u32,
    /// About the longest gap between two messages of such an answer, in microseconds.
    gap: u32,
    /// Answers that were over when the client spoke again.
    whole: u16,
    /// Times when the agent spoke unasked, or the client did into an answer.
    stray: u16,
}

impl Streaming {
    fn pause(&self) -> u64 {
        PAUSE.max(u64::from(self.gap) * GAPS)
    }

    /// The agent has spoken after `silence` of its own, and the client has not since.
    fn goes_on(&mut self, silence: u64, messages: u32) {
        if self.burst == 0 {
            // A greeting, or an agent that nobody has asked yet.
            return;
        }
        if self.gap > 0 && silence > self.pause() {
            self.stray = self.stray.saturating_add(1);
        }
        let sample = u32::try_from(silence / u64::from(messages)).unwrap_or(u32::MAX);
        self.gap = sample.max(self.gap - self.gap / 16);
        self.burst = self.burst.saturating_add(messages);
    }

    /// The client has spoken after a silence of the agent.
    fn is_answered(&mut self, silence: u64) {
        if self.burst > 1 {
            let count = if silence > self.pause() {
                &mut self.whole
            } else {
                &mut self.stray
            };
            *count = count.saturating_add(1);
        }
        self.burst = 0;
    }
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
    streaming: Streaming,
}

impl Traffic {
    /// The traffic of a session that has begun just now.
    pub(super) fn begun(now: Micros) -> Traffic {
        let mut traffic = Traffic::default();
        for rhythm in &mut traffic.rhythms {
            rhythm.said = now;
        }
        traffic
    }

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
                    let asked = self.rhythms[Direction::ToUpstream.index()].said;
                    let took = u32::try_from(now.since(asked)).unwrap_or(u32::MAX);
                    self.answer = smoothed(self.answer, took);
                    self.unasked = self.unasked.saturating_add(messages - 1);
                    self.streaming.burst = messages;
                }
                _ => {
                    self.unasked = self.unasked.saturating_add(messages);
                    let silence = now.since(self.of(direction).said);
                    self.streaming.goes_on(silence, messages);
                }
            }
        }
        if messages > 0
            && direction == Direction::ToUpstream
            && self.last == Some(Direction::ToClient)
        {
            let silence = now.since(self.of(Direction::ToClient).said);
            self.streaming.is_answered(silence);
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

impl Traffic {
    /// Whether the agent answers in many messages, and falls silent before the client speaks again:
    /// so it was at least twice, and hardly ever was otherwise.
    pub(super) fn agent_streams_answers(&self) -> bool {
        let Streaming { whole, stray, .. } = self.streaming;
        whole >= 2 && u32::from(stray) * 8 <= u32::from(whole)
    }

    /// The silence of the agent behind which such an answer is over, in microseconds.
    pub(super) fn pause_behind_an_answer(&self) -> u64 {
        self.streaming.pause()
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
        assert!(traffic.of(Direction::ToClient).deviation < 10);
        assert!(!traffic.agent_only_answers());
    }

    #[test]
    fn an_uneven_rhythm_deviates() {
        let mut traffic = Traffic::default();
        for beat in 1..40 {
            let uneven = beat * 50_000 + beat % 2 * 20_000;
            traffic.note(Direction::ToClient, Micros(uneven), 1);
        }
        let deviation = traffic.of(Direction::ToClient).deviation;
        assert!((15_000..25_000).contains(&deviation), "{deviation}");
    }

    #[test]
    fn parts_and_control_frames_are_no_beats() {
        let mut traffic = Traffic::default();
        for beat in 1..20 {
            traffic.note(Direction::ToUpstream, Micros(beat * 1_000_000), 1);
            for control in 1..40 {
                let between = Micros(beat * 1_000_000 + control * 25_000);
                traffic.note(Direction::ToUpstream, between, 0);
            }
        }
        let client = traffic.of(Direction::ToUpstream);
        assert_eq!(client.gap, 1_000_000);
        assert_eq!(client.said, Micros(19_000_000));
        assert_eq!(client.last, Micros(19_975_000), "yet it is not idle");
    }

    /// Answers of `words` messages, 20 ms apart, each asked for 2 s behind the last.
    fn streamed(answers: u64, words: u64) -> (Traffic, Micros) {
        let (mut traffic, mut now) = (Traffic::default(), 0);
        for _ in 0..answers {
            now += 2_000_000;
            traffic.note(Direction::ToUpstream, Micros(now), 1);
            now += 300_000;
            for word in 0..words {
                now += 20_000 + word % 3 * 10_000;
                traffic.note(Direction::ToClient, Micros(now), 1);
            }
        }
        (traffic, Micros(now))
    }

    #[test]
    fn streamed_answers_are_known_by_the_silence_behind_them() {
        let (mut traffic, now) = streamed(3, 50);
        assert!(traffic.agent_streams_answers() && !traffic.agent_only_answers());
        let pause = traffic.pause_behind_an_answer();
        assert!((120_000..=160_000).contains(&pause), "{pause}");
        // Two whole answers are needed, and one that is interrupted tells against them.
        assert!(!streamed(2, 50).0.agent_streams_answers());
        traffic.note(Direction::ToUpstream, Micros(now.0 + 30_000), 1);
        assert!(!traffic.agent_streams_answers());
    }

    #[test]
    fn a_pusher_with_a_rare_client_does_not_stream_answers() {
        for every in [20_000, 100_000, 500_000] {
            let mut traffic = Traffic::default();
            let mut next = 1_700_000;
            for beat in 1..2_000 {
                let now = beat * every + beat * beat % 7 * every / 20;
                if now > next {
                    traffic.note(Direction::ToUpstream, Micros(now - every / 3), 1);
                    next += 2_000_000 + beat % 5 * 300_000;
                }
                traffic.note(Direction::ToClient, Micros(now), 1);
            }
            assert!(!traffic.agent_streams_answers(), "{every}");
        }
    }

    #[test]
    fn bursts_that_nobody_asked_for_are_no_answers() {
        let (mut traffic, mut now) = (Traffic::default(), 0);
        for burst in 0..50 {
            now += 2_000_000;
            for _ in 0..10 {
                now += 20_000;
                traffic.note(Direction::ToClient, Micros(now), 1);
            }
            if burst % 3 == 0 {
                traffic.note(Direction::ToUpstream, Micros(now + 900_000), 1);
            }
        }
        assert!(!traffic.agent_streams_answers());
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
