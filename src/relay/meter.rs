//! The largest message of a WebSocket: what is too large ends the session with a Close 1009, to
//! both sides, in the place of the frame that makes it so (RFC 6455 7.4.1).

use crate::session::{Direction, Refusal};

use super::boundary::{Boundary, HEADER, Measured};
use super::leave::{Leaving, Stay};
use super::moment::First;
use super::relayed::{Relayed, back};
use super::traffic::Micros;

/// Message too big (RFC 6455 7.4.1).
const TOO_BIG: u16 = 1009;
const REASON: &str = "message too large";

/// Of a session that was refused, so many reads may be thrown away until it is its turn at a look: who goes on
/// sending is not to have the time of the others.
const WASTES: u8 = 4;

/// What is kept of a session whose messages have a largest size.
#[derive(Debug)]
pub(super) struct Meter {
    most: u64,
    /// How long a close handshake may take, in microseconds.
    close_timeout: u64,
    ways: [Way; Direction::COUNT],
    /// Set when a message was refused.
    refused: bool,
    /// Reads that may still be thrown away.
    wastes: u8,
    /// Whether the pump has yet to hear that the session leaves.
    unheard: bool,
}

#[derive(Debug, Default)]
struct Way {
    /// The payload of the message under way, so far.
    size: u64,
    /// The beginning of a header.
    held: [u8; HEADER],
    len: usize,
}

impl Meter {
    pub(super) fn new(most: u64, close_timeout: u64) -> Box<Meter> {
        Box::new(Meter {
            most,
            close_timeout,
            ways: Default::default(),
            refused: false,
            wastes: WASTES,
            unheard: false,
        })
    }

    /// What is held back of a direction.
    pub(super) fn held(&self, way: Direction) -> &[u8] {
        let way = &self.ways[way.index()];
        &way.held[..way.len]
    }

    /// Gives up what is held back of a direction.
    pub(super) fn clear(&mut self, way: Direction) {
        self.ways[way.index()].len = 0;
    }

    /// Walks over what comes next in a direction; it begins with what was held back.
    pub(super) fn walk(
        &mut self,
        way: Direction,
        boundary: &mut Boundary,
        bytes: &[u8],
    ) -> Measured {
        let kept = &mut self.ways[way.index()];
        let measured = boundary.advance_measured(bytes, &mut kept.size, self.most);
        let held = &bytes[bytes.len() - measured.held..];
        kept.held[..held.len()].copy_from_slice(held);
        kept.len = held.len();
        measured
    }

    /// What the Close says, if it is because of a message.
    pub(super) fn code(&self) -> Option<(u16, &'static str)> {
        self.refused.then_some((TOO_BIG, REASON))
    }
}

impl Relayed {
    /// Whether the pump hears now that the session leaves by itself.
    pub(super) fn is_unheard(&mut self) -> bool {
        let meter = self.meter_mut();
        meter.is_some_and(|meter| std::mem::take(&mut meter.unheard))
    }

    /// Whether a message was refused.
    pub(super) fn has_refused(&self) -> bool {
        self.meter().is_some_and(|meter| meter.refused)
    }

    /// Whether a side of a refused session has been read enough until its turn at a look.
    #[inline]
    pub(super) fn is_put_off(&self, way: Direction) -> bool {
        let has_enough = |meter: &Meter| meter.refused && meter.wastes == 0;
        self.flows[way.index()].muted && self.meter().is_some_and(has_enough)
    }

    /// Notes that something was read in order to be thrown away.
    pub(super) fn note_waste(&mut self) {
        if let Some(meter) = self.meter_mut() {
            meter.wastes = meter.wastes.saturating_sub(1);
        }
    }

    /// Lets a refused session be read on; true if it was put off.
    pub(super) fn read_on(&mut self) -> bool {
        let meter = self.meter_mut().filter(|meter| meter.refused);
        meter.is_some_and(|meter| std::mem::replace(&mut meter.wastes, WASTES) == 0)
    }

    /// Passes on what stands before a message that is too large, and closes in its place: the side
    /// that it was meant for at once, and its sender as soon as the way back stands between two
    /// messages.
    pub(super) fn refuse_message(&mut self, way: Direction, bytes: &[u8], at: usize, now: Micros) {
        let is_unheard = matches!(self.stay, Stay::Staying);
        let Some(meter) = self.meter_mut() else {
            return;
        };
        meter.refused = true;
        meter.unheard = is_unheard;
        let until = Micros(now.0.saturating_add(meter.close_timeout));
        let ledger = self.connected.ledger();
        ledger.refused(self.connected.listener(), Refusal::WebsocketMessage);
        self.send(way, &bytes[..at]);
        let frame = self.close_frame(way);
        self.inject(way, &frame);
        self.flow(way).muted = true;
        self.lose(way, (bytes.len() - at) as u64);
        let first = match way {
            Direction::ToUpstream => First::Agent,
            Direction::ToClient => First::Client,
        };
        let since = self.asked_since().unwrap_or(now);
        self.stay = Stay::Leaving(Box::new(Leaving {
            first,
            since,
            impatient: until,
            until,
            by_limit: true,
        }));
        self.close_if_between(back(way));
        if self.flow(back(way)).boundary.between().is_some() {
            self.flow(back(way)).muted = true;
        }
    }

    /// Closes the way back to the sender of a message that was refused at a boundary in what is
    /// passed on; false if there is none.
    pub(super) fn close_behind(&mut self, way: Direction, bytes: &[u8], at: usize) {
        self.send(way, &bytes[..at]);
        let frame = self.close_frame(way);
        self.inject(way, &frame);
        self.flow(way).muted = true;
        self.lose(way, (bytes.len() - at) as u64);
    }
}
