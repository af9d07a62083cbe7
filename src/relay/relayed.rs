//! A relayed session: two halves, two flows, and how far it has come in leaving.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;

use mio::Token;

use crate::config::Goodbye;
use crate::net::Seat;
use crate::session::{Connected, Counted, Direction, Kind, Outcome};

use super::allowance::Allowance;
use super::boundary::{HEADER, Sender, Walk};
use super::close_frame::close_code;
use super::flow::Flow;
use super::half::{Found, Half, Wrote};
use super::leave::Stay;
use super::pipe::Pipes;
use super::pump::Tunnel;
use super::rare::Rare;
use super::traffic::{Micros, Traffic};
use super::transfer::LARGE;

/// What is spoken in a relayed session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Bytes of which nothing is known.
    Bytes,
    /// WebSocket frames.
    Websocket,
}

/// The most that is read at once where it may not be taken, and so the most that a stalled session holds back.
pub(super) const CHUNK: usize = 16 * 1024;
/// Room behind a chunk, so that a Close goes out in one write with the message before it.
pub(super) const ROOM: usize = 160;
/// Reads of one direction in one turn, before it is the others' turn.
const READS_PER_TURN: usize = 2;

/// What a worker lends to a session for the time of its turn.
pub(super) struct Turn {
    /// [`LARGE`] and [`ROOM`] bytes to read into.
    pub(super) scratch: Box<[u8]>,
    /// The time.
    pub(super) now: Micros,
    /// How many may go now.
    pub(super) allowance: Allowance,
    /// What large transfers go through.
    pub(super) pipes: Pipes,
}

/// How a turn of a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits for a socket.
    Waits,
    /// It has more to do, and gives way to others first.
    More,
    /// It is over.
    Ended(Outcome),
}

/// A client and an agent, and the bytes between them.
#[derive(Debug)]
pub(super) struct Relayed {
    /// By index of the direction in which it is the source: the client, the agent.
    pub(super) halves: [Half; 2],
    pub(super) flows: [Flow; 2],
    pub(super) traffic: Traffic,
    pub(super) stay: Stay,
    pub(super) speech: Speech,
    /// How it is asked to go; shared by a listener's sessions.
    pub(super) goodbye: Rc<Goodbye>,
    pub(super) connected: Connected,
    pub(super) seat: Seat,
    /// None while a raw connection has not had a byte: it may be a probe.
    pub(super) counted: Option<Counted>,
    /// Halves that refused a write: the system tells of a reset once, and it was told to the write.
    pub(super) dead: [bool; 2],
    pub(super) client: SocketAddr,
    pub(super) began: Micros,
    pub(super) turn: u32,
    /// Whether it waits for its turn behind others.
    pub(super) is_queued: bool,
    /// What few sessions have.
    pub(super) rare: Option<Box<Rare>>,
}

/// What the socket is watched under which is the source of a direction, in the session of a slot.
pub(super) fn token(slot: usize, way: Direction) -> Token {
    Token(slot * 2 + way.index())
}

/// The other direction: the one whose source is this one's destination.
pub(super) fn back(way: Direction) -> Direction {
    match way {
        Direction::ToUpstream => Direction::ToClient,
        Direction::ToClient => Direction::ToUpstream,
    }
}

/// A destination that takes nothing any more.
struct Dead;

impl Relayed {
    /// A session of what is handed over, but for what was read ahead.
    pub(super) fn new(mut tunnel: Tunnel, began: Micros, turn: u32) -> Relayed {
        let rare = Rare::of(&mut tunnel);
        let halves = [
            Half::new(tunnel.client, tunnel.client_tls),
            Half::new(tunnel.upstream, tunnel.upstream_tls),
        ];
        Relayed {
            flows: [
                Flow::new(Sender::Client, halves[0].is_tls()),
                Flow::new(Sender::Agent, halves[1].is_tls()),
            ],
            halves,
            traffic: Traffic::begun(began),
            stay: Stay::Staying,
            speech: tunnel.speech,
            goodbye: tunnel.goodbye,
            connected: tunnel.connected,
            seat: tunnel.seat,
            counted: tunnel.counted,
            dead: [false; 2],
            client: tunnel.client_addr,
            began,
            turn,
            is_queued: false,
            rare,
        }
    }

    /// The bytes that were taken from each side so far.
    pub(super) fn moved(&self) -> [u64; Direction::COUNT] {
        self.flows.each_ref().map(|flow| flow.bytes)
    }

    /// Whether it has moved much in its last turn.
    pub(super) fn moves_much(&self) -> bool {
        self.flows.iter().any(|flow| flow.moves_much)
    }

    pub(super) fn flow(&mut self, way: Direction) -> &mut Flow {
        &mut self.flows[way.index()]
    }

    /// Passes on what can be passed on, both ways.
    pub(super) fn work(&mut self, turn: &mut Turn) -> Progress {
        let mut more = false;
        for way in [Direction::ToUpstream, Direction::ToClient] {
            match self.pass(way, turn) {
                Ok(again) => more |= again,
                Err(_) => return Progress::Ended(self.reset_by(way)),
            }
        }
        for way in [Direction::ToUpstream, Direction::ToClient] {
            if self.dead[way.index()] && self.flow(way).ended {
                return Progress::Ended(self.reset_by(way));
            }
        }
        // A write that found its destination dead has marked the way back as readable: what the
        // dead had still to say is read next.
        let client = &self.flows[Direction::ToUpstream.index()];
        more |= client.readable
            && !self.waits(Direction::ToUpstream)
            && !self.is_put_off(Direction::ToUpstream);
        if let Some(outcome) = self.conclusion() {
            return Progress::Ended(outcome);
        }
        if more {
            Progress::More
        } else {
            Progress::Waits
        }
    }

    /// Reads and writes one direction until a socket has had enough or the budget is used up;
    /// true if it was the budget. An error is the source's.
    fn pass(&mut self, way: Direction, turn: &mut Turn) -> io::Result<bool> {
        for _ in 0..READS_PER_TURN {
            if self.waits(way) && !self.flush(way, turn) {
                return Ok(false);
            }
            let flow = &self.flows[way.index()];
            if flow.ended || !flow.readable || self.is_put_off(way) {
                return Ok(false);
            }
            if self.is_transfer(way)
                && let Some(pipe) = turn.pipes.lend()
            {
                if self.splice(way, pipe, turn)? {
                    continue;
                }
                return Ok(false);
            }
            let most = self.most_at_once(way);
            let ahead = self.put_held(way, turn);
            let source = &mut self.halves[way.index()];
            let flow = &mut self.flows[way.index()];
            match source.read(&mut turn.scratch[ahead..most]) {
                Ok(Found { bytes: 0, .. }) if self.dead[way.index()] => {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                Ok(Found { bytes: 0, .. }) => {
                    flow.ended = true;
                    flow.readable = false;
                    if let Some(meter) = self.meter_mut() {
                        meter.clear(way);
                        self.send(way, &turn.scratch[..ahead]);
                    }
                    return Ok(false);
                }
                Ok(Found { bytes, more }) => {
                    flow.note_read(bytes >= CHUNK - ahead);
                    let is_last = flow.fin && !more && self.ends_without_ado(way);
                    let flow = &mut self.flows[way.index()];
                    flow.ended = is_last;
                    flow.readable = !is_last && (more || flow.hung_up);
                    self.take(way, ahead, bytes, turn);
                    if most == LARGE {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    flow.readable = false;
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(self.flow(way).readable && !self.is_put_off(way))
    }

    /// Whether nothing is to be done at the end of a source's stream but to pass it on: then what
    /// was read last need not be told from what comes before.
    fn ends_without_ado(&self, way: Direction) -> bool {
        matches!(self.stay, Stay::Staying)
            && !self.halves[way.index()].is_tls()
            && !self.dead[way.index()]
            && self.meter().is_none()
    }

    /// Deals with bytes that were read ahead of the relay, as if they had been read now.
    pub(super) fn take_early(&mut self, way: Direction, bytes: &[u8], turn: &mut Turn) {
        for chunk in bytes.chunks(CHUNK - HEADER) {
            let ahead = self.put_held(way, turn);
            turn.scratch[ahead..ahead + chunk.len()].copy_from_slice(chunk);
            self.take(way, ahead, chunk.len(), turn);
        }
    }

    /// Puts what is held back of a direction before what is read next.
    #[inline]
    fn put_held(&self, way: Direction, turn: &mut Turn) -> usize {
        let Some(meter) = self.meter() else {
            return 0;
        };
        let held = meter.held(way);
        turn.scratch[..held.len()].copy_from_slice(held);
        held.len()
    }

    /// Deals with the first bytes of the scratch: `n` that have come, behind what was held back.
    fn take(&mut self, way: Direction, ahead: usize, n: usize, turn: &mut Turn) {
        if self.counted.is_none() {
            let ledger = self.connected.ledger();
            let mut counted = ledger.open(self.connected.listener(), Kind::Tcp);
            if let Some(record) = counted.record() {
                record.upstream = self.halves[Direction::ToClient.index()].peer();
            }
            self.counted = Some(counted);
        }
        let flow = &mut self.flows[way.index()];
        flow.bytes += n as u64;
        let (mut n, mut too_large) = (n, None);
        let walk = match self.speech {
            Speech::Bytes => Walk {
                messages: 1,
                ..Walk::default()
            },
            Speech::Websocket => match self.rare.as_mut().and_then(|rare| rare.meter.as_mut()) {
                None => flow.boundary.advance(&turn.scratch[..n]),
                Some(meter) => {
                    let bytes = &turn.scratch[..ahead + n];
                    let measured = meter.walk(way, &mut flow.boundary, bytes);
                    n = bytes.len() - measured.held;
                    let is_leaving = matches!(self.stay, Stay::Leaving(_));
                    too_large = measured.too_large.filter(|_| !is_leaving);
                    if n == 0 {
                        return;
                    }
                    measured.walk
                }
            },
        };
        if walk.close.is_some() {
            self.note_close_code(way, &turn.scratch[..n], walk);
        }
        self.traffic.note(way, turn.now, walk.messages);
        if let Some(at) = too_large {
            return self.refuse_message(way, &turn.scratch[..n], at, turn.now);
        }
        match self.stay {
            Stay::Staying => self.send(way, &turn.scratch[..n]),
            _ => self.take_leaving(way, n, walk, turn),
        }
    }

    /// Whether something that was taken waits for a direction's destination: nothing is read
    /// meanwhile, and no end passed on.
    pub(super) fn waits(&self, way: Direction) -> bool {
        self.flows[way.index()].is_spilling() || self.halves[back(way).index()].has_unsent()
    }

    /// Notes the code of a Close that passes whole, where the session is told of.
    fn note_close_code(&mut self, way: Direction, bytes: &[u8], walk: Walk) {
        let record = self.counted.as_mut().and_then(Counted::record);
        if let (Some(record), Some(start), Some(end)) = (record, walk.close, walk.close_end)
            && record.close_code.is_none()
        {
            let mask = way == Direction::ToUpstream;
            record.close_code = close_code(&bytes[start..end], mask);
        }
    }

    /// Writes to a direction's destination, and keeps what does not fit.
    pub(super) fn send(&mut self, way: Direction, bytes: &[u8]) {
        let flow = &mut self.flows[way.index()];
        if flow.muted {
            self.lose(way, bytes.len() as u64);
            return;
        }
        if flow.is_spilling() {
            flow.keep(bytes);
            return;
        }
        match self.write(way, bytes) {
            Ok(n) if n < bytes.len() => self.flow(way).keep(&bytes[n..]),
            Ok(_) => {}
            Err(Dead) => {
                self.mute(way);
                self.lose(way, bytes.len() as u64);
            }
        }
    }

    /// Puts bytes of our own into a direction; they are nobody's loss.
    pub(super) fn inject(&mut self, way: Direction, bytes: &[u8]) {
        let flow = &mut self.flows[way.index()];
        if flow.muted {
            return;
        }
        if flow.is_spilling() {
            flow.keep(bytes);
            return;
        }
        match self.write(way, bytes) {
            Ok(n) if n < bytes.len() => self.flow(way).keep(&bytes[n..]),
            Ok(_) => {}
            Err(Dead) => self.mute(way),
        }
    }

    /// Writes what could not be written before; true when nothing of it is left.
    fn flush(&mut self, way: Direction, turn: &mut Turn) -> bool {
        if !self.empty_pipe(way, turn) {
            return false;
        }
        let destination = &mut self.halves[back(way).index()];
        match destination.flush() {
            Ok(n) => self.delivered(way, n),
            Err(_) => self.mute(way),
        }
        let flow = &self.flows[way.index()];
        if !flow.is_spilling() {
            return !self.waits(way);
        }
        let destination = &mut self.halves[back(way).index()];
        match destination.write(flow.spilled(), flow.ended) {
            Ok(Wrote { taken, delivered }) => {
                self.delivered(way, delivered);
                self.flow(way).written(taken);
            }
            Err(_) => self.mute(way),
        }
        !self.waits(way)
    }

    fn write(&mut self, way: Direction, bytes: &[u8]) -> Result<usize, Dead> {
        // Its end is passed on in the same turn.
        let is_last = self.flows[way.index()].ended;
        match self.halves[back(way).index()].write(bytes, is_last) {
            Ok(Wrote { taken, delivered }) => {
                self.delivered(way, delivered);
                Ok(taken)
            }
            Err(_) => Err(Dead),
        }
    }

    pub(super) fn delivered(&self, way: Direction, n: usize) {
        self.connected
            .ledger()
            .bytes(self.connected.listener(), way, n as u64);
    }

    /// Counts bytes that were taken and cannot be delivered.
    pub(super) fn lose(&self, way: Direction, n: u64) {
        if n > 0 {
            self.connected
                .ledger()
                .undelivered(self.connected.listener(), way, n);
        }
    }

    /// Sends nothing more to a destination that has gone, and reads what it had still to say.
    pub(super) fn mute(&mut self, way: Direction) {
        self.dead[back(way).index()] = true;
        let half = self.halves[back(way).index()].give_up();
        let flow = self.flow(way);
        flow.muted = true;
        let lost = flow.give_up() + half;
        self.lose(way, lost);
        let words = self.flow(back(way));
        words.readable = !words.ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_stays_is_small() {
        let bytes = size_of::<Relayed>();
        // Of these, TLS has 8 for each half, and the place on an endpoint 8.
        assert!(bytes <= 344, "{bytes} bytes");
    }
}
