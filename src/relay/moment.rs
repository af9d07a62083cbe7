//! The moment and the order in which a session is asked to go.
//!
//! Once one side has been told, what the *other* side says to it can no longer be delivered, for
//! about a round trip. So the side that speaks unasked is told first (its last words still go
//! through), and it is done when the other is least likely to speak: in the breath of an answer, or
//! of a beat of a steady rhythm. A pure function of a session's own traffic.
//!
//! How far away the client is, nobody can tell: where a balancer ends TCP, the kernel knows the way
//! to the balancer. So a moment is first looked for that suits a client far away, and as the wait
//! goes on one that suits the client which the kernel sees.

use crate::session::Direction;

use super::traffic::{Micros, Rhythm, Traffic};

/// Who is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The client: what it still says reaches the agent; what the agent says is lost.
    Client,
    /// The agent: what it still says reaches the client; what the client says is lost.
    Agent,
}

/// What is known of the way to the client and of the wait so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// The moment of the decision.
    pub(super) now: Micros,
    /// The round trip to the client or to a balancer before it, in microseconds.
    pub(super) round_trip: u64,
    /// Whether boundaries of messages are known. Where they are not, an answer may come in
    /// pieces, and only silence shows its end.
    pub(super) boundaries: bool,
    /// How long this session has waited for its moment, in microseconds.
    pub(super) waited: u64,
    /// Whether a later start would leave no time for the close handshake.
    pub(super) last_chance: bool,
}

/// Longest wait for a gap in a rhythm, in microseconds: many beats of a lively session. An answer
/// that is due is waited for until the last chance.
const PATIENCE: u64 = 2_000_000;

/// The longest wait for the next answer to a client that thinks for longer, in microseconds: it asks
/// so seldom that hardly any question comes just when the Close is on its way.
const LONG_PATIENCE: u64 = 6_000_000;

/// So long behind its only question a client may be about to ask again, in microseconds.
const SECOND_QUESTION: u64 = 4_000_000;

/// So long after its beginning a session's first question may be on its way, in microseconds: most
/// clients speak as soon as they are connected.
const FIRST_QUESTION: u64 = 2_000_000;

/// How long a moment is looked for that suits a far client and an uneven rhythm, where no answer is
/// waited for, in microseconds.
const SHORT_PATIENCE: u64 = 500_000;

/// The round trip to a client that is far away, in microseconds.
const FAR: u64 = 100_000;

/// How long a peer on a busy machine takes to act on what it has received, in microseconds.
const REACTION: u64 = 4_000;

/// So many messages without one answer are a client that only tells, and is never answered.
const ONE_WAY: u64 = 16;

/// How long a first answer may take, in microseconds: a model may think for that long.
const FIRST_ANSWER: u64 = 30_000_000;

/// The same for raw bytes, in microseconds: of many protocols it is not even known that they answer.
const FIRST_BYTES: u64 = 5_000_000;

/// Raw bytes that come more often than this, in microseconds, are taken for a transfer.
const TRANSFER: u32 = 40_000;

/// How long the moment behind a streamed answer lasts, in microseconds.
const BREATH: u64 = 100_000;

/// The same behind raw bytes, once their silence has shown that they are whole, in microseconds:
/// two looks.
const SHORT_BREATH: u64 = 12_000;

/// The silence behind which an answer without boundaries is taken to be whole, in microseconds.
const SILENCE: u64 = 5_000;

/// Whether now is the moment, and who is told first.
pub(super) fn decide(traffic: &Traffic, c: Circumstances) -> Option<First> {
    let only_answers = traffic.agent_only_answers();
    let streams = !only_answers && streams_answers(traffic, c);
    let first = if only_answers
        || streams
        || pace(traffic, Direction::ToClient, c) > pace(traffic, Direction::ToUpstream, c)
    {
        First::Client
    } else {
        First::Agent
    };
    let now = c.last_chance
        || settled(traffic, c)
            && if only_answers {
                behind_an_answer(traffic, c)
            } else if streams {
                behind_a_whole_answer(traffic, c)
            } else {
                behind_a_beat(traffic, first, c)
            };
    now.then_some(first)
}

/// The time between two messages of a direction: its usual gap, or the one that is under way.
fn pace(traffic: &Traffic, way: Direction, c: Circumstances) -> u64 {
    let rhythm = traffic.of(way);
    match rhythm.messages {
        0 => u64::MAX,
        _ => u64::from(rhythm.gap).max(c.now.since(rhythm.said)),
    }
}

/// Request and reply: the client is told in the breath of the last answer, before its next thought.
fn behind_an_answer(traffic: &Traffic, c: Circumstances) -> bool {
    let client = traffic.of(Direction::ToUpstream);
    let agent = traffic.of(Direction::ToClient);
    if client.messages == 0 {
        return will_not_begin(client, c);
    }
    if traffic.last == Some(Direction::ToUpstream) {
        return none_is_due(traffic, c);
    }
    let patience = patience_for_an_answer(client);
    just_said(agent, c)
        || c.waited >= patience
        || match client.messages {
            // Nobody knows yet how long it thinks.
            1 => c.now.since(client.said) > SECOND_QUESTION,
            _ => is_quiet_for_long(client, traffic, patience, c),
        }
}

/// Whether who has said nothing since the session began will hardly begin just now.
fn will_not_begin(rhythm: &Rhythm, c: Circumstances) -> bool {
    c.now.since(rhythm.said) > FIRST_QUESTION
}

/// How long the next answer is waited for: a client that goes on as it has so far has asked again by
/// then.
fn patience_for_an_answer(client: &Rhythm) -> u64 {
    (u64::from(client.gap) * 2).clamp(PATIENCE, LONG_PATIENCE)
}

/// Whether the client, who spoke last, waits for no answer: it never has one, or has waited for so
/// long that there will be none.
fn none_is_due(traffic: &Traffic, c: Circumstances) -> bool {
    let client = traffic.of(Direction::ToUpstream);
    let agent = traffic.of(Direction::ToClient);
    if agent.messages == 0 && client.messages > ONE_WAY {
        return true;
    }
    let usual = match agent.messages {
        0 if c.boundaries => FIRST_ANSWER,
        0 => FIRST_BYTES,
        _ => PATIENCE.max(u64::from(traffic.answer) * 8),
    };
    c.now.since(client.said) > usual.max(u64::from(client.gap) * 3)
}

/// Whether what the agent says is an answer in many messages. One that goes on for longer than any
/// first answer may take is none: the agent has begun to push.
fn streams_answers(traffic: &Traffic, c: Circumstances) -> bool {
    let asked = traffic.of(Direction::ToUpstream).said;
    c.boundaries && traffic.agent_streams_answers() && c.now.since(asked) <= FIRST_ANSWER
}

/// Request and an answer in many messages: the client is told when the agent has fallen silent
/// behind the last of them, and before its next thought.
fn behind_a_whole_answer(traffic: &Traffic, c: Circumstances) -> bool {
    if traffic.last == Some(Direction::ToUpstream) {
        return none_is_due(traffic, c);
    }
    let client = traffic.of(Direction::ToUpstream);
    let silent_for = c.now.since(traffic.of(Direction::ToClient).said);
    let pause = traffic.pause_behind_an_answer();
    silent_for > pause
        && (silent_for < pause + BREATH
            || c.waited >= PATIENCE
            || is_quiet_for_long(client, traffic, PATIENCE, c))
}

/// Somebody speaks unasked: the other side is told last, in the breath of its own beat. That is the
/// side that speaks less often, so that the least is lost of what crosses on the wire.
fn behind_a_beat(traffic: &Traffic, first: First, c: Circumstances) -> bool {
    let told_last = traffic.of(match first {
        First::Agent => Direction::ToUpstream,
        First::Client => Direction::ToClient,
    });
    // Within a burst a beat promises no pause.
    let is_even = told_last.deviation * 2 <= told_last.gap;
    (just_said(told_last, c) && (is_even || c.waited >= SHORT_PATIENCE))
        || c.waited >= PATIENCE
        || is_quiet_for_long(told_last, traffic, SHORT_PATIENCE, c)
}

/// Whether these are the very bytes that ended a message: what is told now goes out with them. Where
/// only silence shows the end, it is the first that there is.
fn just_said(rhythm: &Rhythm, c: Circumstances) -> bool {
    let breath = match c.boundaries {
        true => 0,
        false => SILENCE + SHORT_BREATH,
    };
    rhythm.messages > 0 && c.now.since(rhythm.said) <= breath
}

/// Whether raw bytes have come to a pause in both directions.
pub(super) fn is_quiet(traffic: &Traffic, now: Micros) -> bool {
    let c = Circumstances {
        now,
        round_trip: 0,
        boundaries: false,
        waited: 0,
        last_chance: false,
    };
    settled(traffic, c)
}

/// How long nobody may speak for nothing to be lost: the way there and back, and the reaction.
fn guard(traffic: &Traffic, c: Circumstances) -> u64 {
    c.round_trip * 3 / 2 + u64::from(traffic.answer).clamp(REACTION, 50_000)
}

/// Whether a side is not about to speak: its next beat is further away than the guard, or its
/// rhythm has broken off. How uneven the rhythm is and how far away the client may be counts less
/// and less as the wait goes on.
fn is_quiet_for_long(rhythm: &Rhythm, traffic: &Traffic, patience: u64, c: Circumstances) -> bool {
    if rhythm.messages == 0 {
        return will_not_begin(rhythm, c);
    }
    let guard = guard(traffic, c);
    let silent_for = c.now.since(rhythm.said);
    let gap = u64::from(rhythm.gap);
    let uneven = u64::from(rhythm.deviation) * 4;
    if gap == 0 {
        return silent_for > (guard + FAR) * 4;
    }
    let fading = |what: u64, over: u64| what * over.saturating_sub(c.waited) / over;
    let margin = guard + fading(uneven, patience) + fading(FAR, PATIENCE);
    silent_for + margin < gap || silent_for > gap * 2 + uneven + guard + FAR
}

/// Whether what was being said has been said, where only silence can show it.
fn settled(traffic: &Traffic, c: Circumstances) -> bool {
    c.boundaries
        || [Direction::ToUpstream, Direction::ToClient]
            .iter()
            .all(|way| silent_enough(traffic, *way, c))
}

/// Whether a direction of raw bytes has been silent for long enough: a little for what comes in
/// single messages, and several of its own gaps for what comes without pause, such as a transfer. A
/// lively conversation is not waited for without end; a transfer to somebody who only listens is.
fn silent_enough(traffic: &Traffic, way: Direction, c: Circumstances) -> bool {
    let rhythm = traffic.of(way);
    if rhythm.messages == 0 {
        return true;
    }
    let other = traffic.of(super::relayed::back(way));
    let listens = other.messages == 0 || c.now.since(other.last) > PATIENCE;
    let is_transfer = rhythm.gap < TRANSFER && (listens || c.waited < PATIENCE);
    let pause = if is_transfer {
        u64::from(rhythm.gap) * 3
    } else {
        0
    };
    c.now.since(rhythm.last) >= SILENCE + pause
}

#[cfg(test)]
mod tests;
