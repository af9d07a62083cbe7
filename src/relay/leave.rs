//! How a relayed session that was asked to go is brought to its end: politely, between messages,
//! one side after the other.
//!
//! The conversation (RFC 6455 7.1.2, with the relay between the two): one side is told first, by a
//! Close of ours. What the other still says to it is undelivered from there on, and counted; what
//! it says itself is delivered, up to and with its own Close, which tells the second side. Then
//! both are given a FIN, and it is over. Raw bytes go the same way, with a FIN for a Close.

use crate::config::CloseOrder;
use crate::net::sockinfo;
use crate::session::{Direction, Outcome};

use super::allowance::{Allowance, urgency_of};
use super::announce::Announcement;
use super::boundary::{Between, Walk};
use super::close_frame::close_frame;
use super::meter::Meter;
use super::moment::{self, Circumstances, First};
use super::patience::{last_chance, micros};
use super::relayed::{ROOM, Relayed, Speech, Turn, back};
use super::traffic::Micros;

/// How long a client has to end its TLS when all has been said, in microseconds.
const LINGER: u64 = 1_000_000;

/// For how long a measured round trip is good, in microseconds: a moment is looked for 200 times a
/// second, and each measurement is a call to the kernel.
const ROUND_TRIP_HOLDS: u64 = 500_000;

/// Whether a session has been asked to go, and how far it has come. In a box, since few are asked
/// at a time.
#[derive(Debug)]
pub(super) enum Stay {
    /// Nobody has asked.
    Staying,
    /// It has been asked, and waits for its moment.
    Asked(Box<Asked>),
    /// The first side has been told.
    Leaving(Box<Leaving>),
}

/// What bounds the leaving of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// When it is cut.
    pub(super) until: Micros,
    /// How much of the time before that is kept for its close handshake, in microseconds.
    pub(super) reserve: u64,
    /// The longest that this handshake may take once it has begun, in microseconds.
    pub(super) close_timeout: u64,
}

impl Limits {
    /// The moment from which on a close handshake would not fit any more.
    pub(super) fn latest(&self) -> Micros {
        Micros(self.until.0.saturating_sub(self.reserve))
    }

    /// Both bounds at once.
    fn shortened(self, other: Limits) -> Limits {
        Limits {
            until: self.until.min(other.until),
            reserve: self.reserve.min(other.reserve),
            close_timeout: self.close_timeout.min(other.close_timeout),
        }
    }
}

/// A session that has been asked to go.
#[derive(Debug)]
pub(super) struct Asked {
    /// Since when.
    pub(super) since: Micros,
    /// From when on its moment is looked for: at once, or some time behind an announcement.
    pub(super) look_from: Micros,
    /// Since when it has found none: its demands fall with time.
    pub(super) waits_since: Micros,
    /// Whether it looks for one by now.
    pub(super) looks: bool,
    /// When it is told without a good moment: what is left fits the close handshake.
    pub(super) last_chance: Micros,
    pub(super) limits: Limits,
    /// The round trip to the client, in microseconds, and when it was measured.
    pub(super) round_trip: Option<(u64, Micros)>,
    /// Whether the client hears of it beforehand.
    pub(super) announcement: Announcement,
    /// Whether a limit asked, of which no drain has to hear.
    pub(super) by_limit: bool,
}

impl Asked {
    /// From when on it goes at a good moment though many go: when half of its wait is over.
    fn needs_no_leave_from(&self) -> Micros {
        let wait = self.last_chance.since(self.look_from);
        Micros(self.last_chance.0 - wait / 2)
    }
}

/// A session whose first side has been told.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Which.
    pub(super) first: First,
    /// Since when it was asked.
    pub(super) since: Micros,
    /// When the other is told, though the first has not ended.
    pub(super) impatient: Micros,
    /// When it is cut.
    pub(super) until: Micros,
    /// Whether a limit asked, of which no drain has to hear.
    pub(super) by_limit: bool,
}

/// What has become of a session that was asked to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is still here.
    Stays,
    /// It has gone.
    Left(Outcome),
    /// It has to be cut.
    TimeIsOver,
}

impl Relayed {
    /// Asks the session to go. Being asked again can only shorten it.
    pub(super) fn ask(&mut self, limits: Limits, now: Micros, by_limit: bool) {
        let (patience, turn) = (self.goodbye.close_patience, self.turn);
        match &mut self.stay {
            Stay::Staying => {
                self.stay = Stay::Asked(Box::new(Asked {
                    since: now,
                    look_from: now,
                    waits_since: now,
                    looks: false,
                    last_chance: last_chance(now, limits.latest(), patience, turn),
                    limits,
                    round_trip: None,
                    announcement: self.announcement(),
                    by_limit,
                }));
            }
            Stay::Asked(asked) => {
                if asked.by_limit && !by_limit {
                    asked.by_limit = false;
                    asked.since = now;
                }
                asked.limits = asked.limits.shortened(limits);
                let latest = asked.limits.latest();
                // What was announced for later comes sooner now.
                let soon = Micros(now.0 + latest.since(now) / 2);
                asked.look_from = asked.look_from.min(soon);
                let from = asked.look_from.max(now);
                let chance = last_chance(from, latest, patience, turn);
                asked.last_chance = chance.min(asked.last_chance);
            }
            Stay::Leaving(leaving) => leaving.until = limits.until.min(leaving.until),
        }
    }

    /// Since when the session is asked to go, if it is.
    pub(super) fn asked_since(&self) -> Option<Micros> {
        match &self.stay {
            Stay::Staying => None,
            Stay::Asked(asked) => Some(asked.since),
            Stay::Leaving(leaving) => Some(leaving.since),
        }
    }

    /// Whether it was a limit that asked it.
    pub(super) fn is_asked_by_limit(&self) -> bool {
        match &self.stay {
            Stay::Staying => false,
            Stay::Asked(asked) => asked.by_limit,
            Stay::Leaving(leaving) => leaving.by_limit,
        }
    }

    /// How urgently the session waits for leave to go, if it does.
    pub(super) fn urgency(&self, now: Micros) -> f64 {
        match &self.stay {
            Stay::Asked(asked) if asked.looks => urgency_of(asked.needs_no_leave_from(), now),
            _ => 0.0,
        }
    }

    /// Whether this is the first time that a moment is looked for.
    fn begins_to_look(&mut self, now: Micros) -> bool {
        let has_to_announce = self.has_to_announce();
        match &mut self.stay {
            Stay::Asked(asked) if !asked.looks && !has_to_announce && now >= asked.look_from => {
                asked.looks = true;
                asked.waits_since = now;
                true
            }
            _ => false,
        }
    }

    /// Whether the session may go, if this is its moment.
    fn may_go(&self, now: Micros, allowance: &Allowance) -> bool {
        match &self.stay {
            Stay::Asked(asked) => allowance.is_there() || now >= asked.needs_no_leave_from(),
            _ => false,
        }
    }

    /// Looks whether the moment has come, or the time is over; called every few milliseconds while
    /// the session is asked to go.
    pub(super) fn consider(&mut self, now: Micros, allowance: &mut Allowance) -> Verdict {
        self.announce_if_between(now);
        if self.begins_to_look(now) {
            allowance.ask();
        }
        if self.may_go(now, allowance)
            && let Some(first) = self.moment(now)
            && self.tell_first(first, now)
        {
            allowance.take();
        }
        if let Some(outcome) = self.left() {
            return Verdict::Left(outcome);
        }
        self.wait_no_longer(now);
        match &self.stay {
            Stay::Asked(asked) if now >= asked.limits.until => Verdict::TimeIsOver,
            Stay::Leaving(leaving) if now >= leaving.until => Verdict::TimeIsOver,
            Stay::Leaving(leaving) if now >= leaving.impatient => {
                self.tell_second(now);
                Verdict::Stays
            }
            _ => Verdict::Stays,
        }
    }

    /// Where all has been said, the client's own end of TLS is waited for, but not for long.
    fn wait_no_longer(&mut self, now: Micros) {
        let is_tls = self.halves[Direction::ToUpstream.index()].is_tls();
        let leaves = matches!(self.stay, Stay::Leaving(_)) && self.has_boundaries();
        if is_tls
            && leaves
            && self.has_all_been_said()
            && let Stay::Leaving(leaving) = &mut self.stay
        {
            leaving.until = leaving.until.min(Micros(now.0 + LINGER));
        }
    }

    /// Raw bytes only: a side that goes on listening behind our FIN, and says nothing, may not know
    /// that it should go. Then the other side is told too, in a quiet moment.
    fn tell_second(&mut self, now: Micros) {
        let Stay::Leaving(leaving) = &self.stay else {
            return;
        };
        let way = back(way_to(leaving.first));
        let quiet = moment::is_quiet(&self.traffic, now);
        if self.speech == Speech::Bytes && quiet && !self.waits(way) {
            if !self.flow(way).finished {
                self.finish(way);
            }
            self.flow(way).muted = true;
        }
    }

    /// Whether now is the moment, and who is told first.
    fn moment(&mut self, now: Micros) -> Option<First> {
        let Stay::Asked(asked) = &self.stay else {
            return None;
        };
        let is_last_chance = now >= asked.last_chance;
        let is_too_early = now < asked.look_from || self.has_to_announce();
        if self.is_leaving_by_itself() || is_too_early && !is_last_chance {
            return None;
        }
        let waited = now.since(asked.waits_since);
        let circumstances = Circumstances {
            now,
            round_trip: self.round_trip(now),
            boundaries: self.has_boundaries(),
            waited,
            last_chance: is_last_chance,
        };
        let first = moment::decide(&self.traffic, circumstances)?;
        Some(match self.goodbye.close_order {
            CloseOrder::Auto => first,
            CloseOrder::Client => First::Client,
            CloseOrder::Agent => First::Agent,
        })
    }

    /// The round trip to the client, as the kernel has measured it lately, in microseconds.
    fn round_trip(&mut self, now: Micros) -> u64 {
        let Stay::Asked(asked) = &mut self.stay else {
            return 0;
        };
        match asked.round_trip {
            Some((micros, at)) if now.since(at) < ROUND_TRIP_HOLDS => micros,
            _ => {
                let client = &self.halves[Direction::ToUpstream.index()];
                let measured = sockinfo::round_trip(client).map_or(0, micros);
                asked.round_trip = Some((measured, now));
                measured
            }
        }
    }

    /// Whether a side has said its Close or ended, though neither was told to.
    pub(super) fn is_leaving_by_itself(&self) -> bool {
        self.flows
            .iter()
            .any(|flow| flow.boundary.close_seen() || flow.ended)
    }

    /// Whether the stream's messages can be told apart: a WebSocket whose framing holds.
    pub(super) fn has_boundaries(&self) -> bool {
        matches!(self.speech, Speech::Websocket)
            && self.flows.iter().all(|flow| !flow.boundary.is_broken())
    }

    /// Tells the first side, if the stream to it stands between two messages; true if it does.
    fn tell_first(&mut self, first: First, now: Micros) -> bool {
        let way = way_to(first);
        if self.has_boundaries() {
            let Some(here) = self.flow(way).boundary.between() else {
                return false;
            };
            self.put_close(way, here);
        } else if self.waits(way) {
            return false;
        } else {
            self.finish(way);
        }
        self.flow(way).muted = true;
        self.start_leaving(first, now);
        true
    }

    fn start_leaving(&mut self, first: First, now: Micros) {
        if let Stay::Asked(asked) = &self.stay {
            let Asked {
                since,
                limits,
                by_limit,
                ..
            } = **asked;
            let impatient = Micros(now.0.saturating_add(limits.close_timeout));
            // A Close asks for an answer, and so much time is enough for one. A FIN asks for
            // nothing: the other side may have much to say, and has the time that there is.
            let until = match self.speech {
                Speech::Websocket => limits.until.min(impatient),
                Speech::Bytes => limits.until,
            };
            self.stay = Stay::Leaving(Box::new(Leaving {
                first,
                since,
                impatient,
                until,
                by_limit,
            }));
        }
    }

    /// Deals with bytes of a session that has been asked to go.
    pub(super) fn take_leaving(&mut self, way: Direction, n: usize, walk: Walk, turn: &mut Turn) {
        if self.flow(way).muted {
            // The Close that ends the other side's words is an answer to ours, not a loss.
            let flow = self.flow(way);
            let lost = match walk.close {
                Some(close) => close,
                None if flow.boundary.close_seen() => 0,
                None => n,
            };
            self.lose(way, lost as u64);
            self.note_waste();
            return;
        }
        match (&self.stay, walk.close) {
            (Stay::Leaving(_), Some(close)) if way == Direction::ToClient => {
                // The agent was told first, and this is its answer: ours goes in its place, so
                // that the client sees the configured code whatever the agent makes of it.
                self.send(way, &turn.scratch[..close]);
                let frame = self.close_frame(way);
                self.inject(way, &frame);
                self.flow(way).muted = true;
            }
            (Stay::Leaving(_), None) if self.has_refused() && walk.boundary.is_some() => {
                let at = walk.boundary.unwrap_or(n);
                self.close_behind(way, &turn.scratch[..n], at);
            }
            (Stay::Leaving(_), _) => {
                let end = walk.close_end.unwrap_or(n);
                self.send(way, &turn.scratch[..end]);
                if walk.close_end.is_some() {
                    self.flow(way).muted = true;
                    self.lose(way, (n - end) as u64);
                }
            }
            _ => self.take_asked(way, n, walk, turn),
        }
    }

    /// Passes a chunk on, and puts the Close right behind it if this is the moment: in one write,
    /// so that it reaches the client before its next thought.
    fn take_asked(&mut self, way: Direction, n: usize, walk: Walk, turn: &mut Turn) {
        if way == Direction::ToClient
            && let (Some(boundary), None) = (walk.boundary, walk.close)
            && self.has_to_announce()
        {
            return self.announce_inside(&turn.scratch[..n], boundary, turn.now);
        }
        let first = self.moment(turn.now).filter(|first| way_to(*first) == way);
        let (Some(first), Some(boundary), true) = (first, walk.boundary, self.has_boundaries())
        else {
            return self.send(way, &turn.scratch[..n]);
        };
        let is_last_chance =
            matches!(&self.stay, Stay::Asked(asked) if turn.now >= asked.last_chance);
        if boundary < n && !is_last_chance {
            return self.send(way, &turn.scratch[..n]);
        }
        if !self.may_go(turn.now, &turn.allowance) {
            self.let_it_pass(turn.now);
            return self.send(way, &turn.scratch[..n]);
        }
        // A sender that never pauses leaves no chunk that ends between messages: then the message
        // that has begun is given up.
        self.lose(way, (n - boundary) as u64);
        let close = self.close_frame(way);
        let end = boundary + close.len();
        turn.scratch[boundary..end].copy_from_slice(&close);
        self.send(way, &turn.scratch[..end]);
        self.flow(way).muted = true;
        self.start_leaving(first, turn.now);
        turn.allowance.take();
    }

    /// A good moment passes for want of leave. The next will be as good, and until then no worse one
    /// is taken, as would be after a long wait.
    fn let_it_pass(&mut self, now: Micros) {
        if let Stay::Asked(asked) = &mut self.stay {
            asked.waits_since = now;
        }
    }

    /// The session has left when both sides have said their Close, or ended, and have been told.
    pub(super) fn left(&mut self) -> Option<Outcome> {
        let Stay::Leaving(_) = self.stay else {
            return None;
        };
        if !self.has_boundaries() {
            return None;
        }
        self.has_all_been_said().then_some(())?;
        // Over TLS the client says that it goes as well, and would meet a reset if nobody heard it.
        let hears = !self.halves[Direction::ToUpstream.index()].is_tls()
            || self.flow(Direction::ToUpstream).ended;
        hears.then_some(Outcome::Closed)
    }

    /// Whether both sides of a WebSocket that leaves have said their Close, or ended, and have been
    /// told, up to the FIN.
    fn has_all_been_said(&mut self) -> bool {
        let mut said = true;
        for way in [Direction::ToUpstream, Direction::ToClient] {
            // The destination of `way` has been told when `way` is mute, and has answered when the
            // way back has carried its Close.
            let answered = {
                let its_words = self.flow(back(way));
                its_words.boundary.close_complete() || its_words.ended
            };
            let told = self.flow(way).muted && !self.waits(way);
            if told && answered && !self.flow(way).finished {
                self.halves[back(way).index()].finish();
                self.flow(way).finished = true;
            }
            said &= told && answered && !self.waits(way);
        }
        said
    }

    /// A side that ended without a Close while the session leaves: the other is told by ours.
    pub(super) fn say_goodbye_before_the_end(&mut self, way: Direction) {
        if matches!(self.stay, Stay::Leaving(_)) {
            self.close_if_between(way);
            self.flow(way).muted = true;
        }
    }

    /// A side that was reset while the session leaves has gone. That is what it was asked for, if
    /// it had said its Close, or had been told and knows no Close.
    pub(super) fn reset_while_leaving(&mut self, way: Direction) -> Option<Outcome> {
        let Stay::Leaving(_) = self.stay else {
            return None;
        };
        let went = match self.speech {
            Speech::Websocket => self.flow(way).boundary.close_complete(),
            Speech::Bytes => self.flow(back(way)).muted,
        };
        self.close_if_between(way);
        self.halves[back(way).index()].finish();
        Some(if went {
            Outcome::Closed
        } else {
            Outcome::Failed
        })
    }

    /// Ends the session at once: a Close where the stream allows one, and a FIN, for whoever has
    /// not had them. A session whose client has gone cleanly counts as closed; the agent's silence
    /// is not the client's loss.
    pub(super) fn cut(&mut self) -> Outcome {
        let waits = self.waits(Direction::ToUpstream);
        let words = self.flow(Direction::ToUpstream);
        let client_has_gone = (words.boundary.close_complete() || words.ended) && !waits;
        let asked_first = matches!(self.stay, Stay::Leaving(_)) || self.has_announced();
        for way in [Direction::ToUpstream, Direction::ToClient] {
            self.close_if_between(way);
            if !self.flow(way).finished {
                self.halves[back(way).index()].finish();
            }
        }
        if asked_first && client_has_gone {
            Outcome::Closed
        } else {
            Outcome::Cut
        }
    }

    /// Puts a Close into `way` if nothing has ended it yet and it stands between two messages.
    pub(super) fn close_if_between(&mut self, way: Direction) {
        if !self.has_boundaries() || self.flow(way).muted {
            return;
        }
        if let Some(here) = self.flow(way).boundary.between() {
            self.put_close(way, here);
        }
    }

    fn put_close(&mut self, way: Direction, _here: Between) {
        let frame = self.close_frame(way);
        self.inject(way, &frame);
    }

    /// The code of the Close that this session is sent, if it has been.
    pub(super) fn own_close_code(&self) -> Option<u16> {
        let sent = self.speech == Speech::Websocket && matches!(self.stay, Stay::Leaving(_));
        sent.then(|| self.close_words().0)
    }

    fn close_words(&self) -> (u16, &str) {
        let refused = self.meter().and_then(Meter::code);
        refused.unwrap_or((self.goodbye.close_code, &self.goodbye.close_reason))
    }

    pub(super) fn close_frame(&self, way: Direction) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ROOM);
        let mask = (way == Direction::ToUpstream).then(masking_key);
        let (code, reason) = self.close_words();
        close_frame(code, reason, mask, &mut frame);
        frame
    }
}

/// The direction in which a side is the destination.
pub(super) fn way_to(first: First) -> Direction {
    match first {
        First::Client => Direction::ToClient,
        First::Agent => Direction::ToUpstream,
    }
}

/// A fresh masking key (RFC 6455 5.3: from a strong source of entropy).
fn masking_key() -> [u8; 4] {
    let mut key = [0; 4];
    // Without entropy the key stays zero, which is a valid mask.
    let _ = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::NONBLOCK);
    key
}
