//! The text message that tells the client of a WebSocket to come back elsewhere, some time before
//! its Close.
//!
//! It is a whole frame of its own between two messages of the agent. It is not compressed, which is
//! legal under every extension: RSV1 says frame by frame whether one is (RFC 7692 6).

use crate::session::Direction;

use super::boundary::Between;
use super::leave::Stay;
use super::patience::{last_chance, micros, spread};
use super::relayed::{Relayed, Speech};
use super::traffic::Micros;

/// FIN and the opcode of a text.
const FIN_TEXT: u8 = 0x81;
/// The greatest length in seven bits, and what stands for one of sixteen (RFC 6455 5.2).
const SHORT_LENGTH: u8 = 125;
const LENGTH_16: u8 = 126;

/// Whether the client of a session is told beforehand that it should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// It is not.
    None,
    /// It is to be, at the next boundary.
    Due,
    /// It has been.
    Said,
}

impl Relayed {
    /// What a session that is asked to go owes its client beforehand.
    pub(super) fn announcement(&self) -> Announcement {
        match (self.speech, &self.goodbye.announcement) {
            (Speech::Websocket, Some(_)) => Announcement::Due,
            _ => Announcement::None,
        }
    }

    /// Whether the announcement is still to be made, and can be.
    pub(super) fn has_to_announce(&self) -> bool {
        let due = match &self.stay {
            Stay::Asked(asked) => asked.announcement == Announcement::Due,
            _ => false,
        };
        due && self.has_boundaries() && !self.is_leaving_by_itself()
    }

    /// Whether the client has been told that it should go, and no side has been sent a Close.
    pub(super) fn has_announced(&self) -> bool {
        match &self.stay {
            Stay::Asked(asked) => asked.announcement == Announcement::Said,
            _ => false,
        }
    }

    /// Makes the announcement, if it is due and the stream to the client stands between two
    /// messages.
    pub(super) fn announce_if_between(&mut self, now: Micros) {
        if self.has_to_announce()
            && let Some(here) = self.flow(Direction::ToClient).boundary.between()
        {
            self.announce(here, now);
        }
    }

    /// Passes on a chunk that has a boundary inside, and makes the announcement there.
    pub(super) fn announce_inside(&mut self, bytes: &[u8], boundary: usize, now: Micros) {
        let (before, behind) = bytes.split_at(boundary);
        self.send(Direction::ToClient, before);
        self.put_announcement(now);
        if !behind.is_empty() {
            self.send(Direction::ToClient, behind);
        }
    }

    fn announce(&mut self, _here: Between, now: Micros) {
        self.put_announcement(now);
    }

    fn put_announcement(&mut self, now: Micros) {
        let Stay::Asked(asked) = &mut self.stay else {
            return;
        };
        let goodbye = &self.goodbye;
        let latest = asked.limits.latest();
        let ahead = micros(goodbye.announce_ahead).min(latest.since(now) / 2);
        asked.announcement = Announcement::Said;
        asked.look_from = Micros(now.0 + ahead);
        asked.last_chance = last_chance(asked.look_from, latest, goodbye.close_patience, self.turn);
        let in_half = ahead / 2;
        let back_in = in_half + spread(self.turn, in_half);
        if let Some(announcement) = &goodbye.announcement {
            let text = announcement.fill(back_in / 1_000, ahead / 1_000);
            let frame = text_frame(text.as_bytes());
            self.inject(Direction::ToClient, &frame);
        }
    }
}

/// One whole unmasked text frame. A longer text than the 1024 bytes that the configuration allows
/// for would be cut at 65,535.
fn text_frame(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity(4 + text.len());
    frame.push(FIN_TEXT);
    match u8::try_from(length) {
        Ok(length) if length <= SHORT_LENGTH => frame.push(length),
        _ => {
            frame.push(LENGTH_16);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&text[..usize::from(length)]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::{Boundary, Sender};

    #[test]
    fn the_frame_is_one_whole_message_of_every_length() {
        for length in [0, 1, 125, 126, 127, 255, 256, 1024] {
            let text = vec![b'x'; length];
            let frame = text_frame(&text);
            let walk = Boundary::new(Sender::Agent).advance(&frame);
            assert_eq!((walk.messages, walk.boundary), (1, Some(frame.len())));
            assert!(frame.ends_with(&text) && frame[0] == 0x81);
        }
    }
}
