//! Large transfers: what the kernel moves by itself, and what is read by more than a chunk.
//!
//! Nothing that has to look at what it moves comes in here.

use std::io::{self, ErrorKind};

use crate::session::Direction;

use super::half::Half;
use super::leave::Stay;
use super::pipe::{Pipe, cannot_splice};
use super::relayed::{CHUNK, Relayed, Speech, Turn, back};

/// What is read at once, and once a turn, in a large transfer over TLS: several records are passed on by one write.
pub(super) const LARGE: usize = 64 * 1024;

impl Relayed {
    /// Whether a direction carries so much, and nothing that has to be looked at, that the kernel
    /// may pass it on by itself.
    pub(super) fn is_transfer(&self, way: Direction) -> bool {
        let flow = &self.flows[way.index()];
        flow.is_bulk()
            && !flow.muted
            && self.speech == Speech::Bytes
            && !self.halves.iter().any(Half::is_tls)
            && matches!(self.stay, Stay::Staying)
            && self.counted.is_some()
    }

    /// How much is read at once: more than a chunk only if the destination will take all of it, for what it does not
    /// is held back.
    pub(super) fn most_at_once(&self, way: Direction) -> usize {
        let is_large = self.flows[way.index()].is_bulk()
            && self.halves[way.index()].is_tls()
            && matches!(self.stay, Stay::Staying)
            && self.halves[back(way).index()].has_room_for(LARGE);
        match is_large {
            true => LARGE,
            false => CHUNK,
        }
    }

    /// Takes what the source has into a pipe; false if that is nothing. An error is the source's.
    pub(super) fn splice(
        &mut self,
        way: Direction,
        mut pipe: Pipe,
        turn: &mut Turn,
    ) -> io::Result<bool> {
        let taken = pipe.fill(&self.halves[way.index()]);
        let is_dead = self.dead[way.index()];
        let flow = &mut self.flows[way.index()];
        let n = match taken {
            Ok(0) if is_dead => return Err(ErrorKind::ConnectionReset.into()),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                flow.readable = false;
                turn.pipes.give_back(pipe);
                return Ok(false);
            }
            // Nothing was taken: it is read and copied instead.
            Err(e) if cannot_splice(&e) => {
                turn.pipes.do_without();
                return Ok(true);
            }
            Err(e) => return Err(e),
        };
        if n == 0 {
            flow.ended = true;
            flow.readable = false;
            turn.pipes.give_back(pipe);
            return Ok(false);
        }
        flow.note_read(n >= CHUNK);
        flow.bytes += n as u64;
        self.traffic.note(way, turn.now, 1);
        match pipe.empty(&self.halves[back(way).index()]) {
            Ok(n) => self.delivered(way, n),
            Err(_) => {
                self.mute(way);
                self.lose(way, pipe.held() as u64);
                return Ok(true);
            }
        }
        match pipe.held() {
            0 => turn.pipes.give_back(pipe),
            _ => self.flow(way).hold(pipe),
        }
        Ok(true)
    }

    /// Writes what is in a direction's pipe, if it has one; true when nothing of it is left.
    pub(super) fn empty_pipe(&mut self, way: Direction, turn: &mut Turn) -> bool {
        let Some(pipe) = self.flows[way.index()].pipe() else {
            return true;
        };
        let Ok(n) = pipe.empty(&self.halves[back(way).index()]) else {
            self.mute(way);
            return true;
        };
        let is_empty = pipe.held() == 0;
        self.delivered(way, n);
        if is_empty && let Some(pipe) = self.flow(way).release() {
            turn.pipes.give_back(pipe);
        }
        is_empty
    }
}
