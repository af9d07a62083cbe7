//! CRLF lines out of reads that may cut them anywhere.

use std::mem;

use super::{Refusal, Violation, scan};

/// How many bytes of a line's beginning are looked at. The framing fields fit in with room to spare,
/// and the rest of longer lines is hyper's alone to judge.
pub(super) const LOOKED_AT: usize = 96;
/// How many bytes of a line's end are looked at: a protocol version, `HTTP/1.1`.
pub(super) const VERSION: usize = 8;

/// A complete line without its CRLF, as much of it as matters.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The beginning, at most [`LOOKED_AT`] bytes.
    pub start: &'a [u8],
    /// The end, at most [`VERSION`] bytes.
    pub end: &'a [u8],
    /// Whether the line is longer than `start`.
    pub long: bool,
}

impl<'a> Line<'a> {
    #[inline(always)]
    fn whole(text: &'a [u8]) -> Self {
        Self {
            start: &text[..text.len().min(LOOKED_AT)],
            end: &text[text.len().saturating_sub(VERSION)..],
            long: text.len() > LOOKED_AT,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start.is_empty()
    }
}

/// The line under way, as far as earlier reads brought it.
#[derive(Debug)]
pub(super) struct Lines {
    start: [u8; LOOKED_AT],
    /// How much of `start` is filled.
    filled: u8,
    /// The last bytes, right-aligned.
    end: [u8; VERSION],
    long: bool,
    /// The last byte read was the CR of the line's end.
    cr: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            start: [0; LOOKED_AT],
            filled: 0,
            end: [0; VERSION],
            long: false,
            cr: false,
        }
    }

    /// Whether no byte of a line has been read, but for the CR of an empty one.
    pub(super) fn at_start(&self) -> bool {
        self.filled == 0
    }

    /// The line that ends in `bytes[at..]` and where the next one begins; `None` if it does not end
    /// there, in which case all of it has been kept.
    #[inline(always)]
    pub(super) fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        at: usize,
    ) -> Result<Option<(Line<'a>, usize)>, Violation> {
        if self.filled > 0 || self.cr {
            return self.next_of_cut(bytes, at);
        }
        let rest = &bytes[at..];
        let Some(len) = scan::control(rest) else {
            self.keep(rest);
            return Ok(None);
        };
        match rest[len..] {
            [b'\r', b'\n', ..] => Ok(Some((Line::whole(&rest[..len]), at + len + 2))),
            [b'\r', _, ..] => Err(Violation::nul(Refusal::BareCr, at + len + 1)),
            [b'\r'] => {
                self.keep(&rest[..len]);
                self.cr = true;
                Ok(None)
            }
            [b'\n', ..] => Err(Violation::nul(Refusal::BareLf, at + len)),
            _ => Err(Violation::nul(Refusal::Control, at + len)),
        }
    }

    /// [`Lines::next`] for a line whose beginning came with an earlier read.
    #[cold]
    fn next_of_cut<'a>(
        &'a mut self,
        bytes: &'a [u8],
        at: usize,
    ) -> Result<Option<(Line<'a>, usize)>, Violation> {
        let rest = &bytes[at..];
        if !self.cr {
            let len = scan::control(rest).unwrap_or(rest.len());
            self.keep(&rest[..len]);
            return match rest.get(len) {
                None => Ok(None),
                Some(b'\r') => {
                    self.cr = true;
                    if len + 1 == rest.len() {
                        Ok(None)
                    } else {
                        self.next_of_cut(bytes, at + len + 1)
                    }
                }
                Some(b'\n') => Err(Violation::nul(Refusal::BareLf, at + len)),
                Some(_) => Err(Violation::nul(Refusal::Control, at + len)),
            };
        }
        if rest.first() != Some(&b'\n') {
            return Err(Violation::nul(Refusal::BareCr, at));
        }
        let len = usize::from(mem::take(&mut self.filled));
        self.cr = false;
        let line = Line {
            start: &self.start[..len],
            end: &self.end[VERSION - len.min(VERSION)..],
            long: mem::take(&mut self.long),
        };
        Ok(Some((line, at + 1)))
    }

    #[cold]
    fn keep(&mut self, text: &[u8]) {
        let filled = usize::from(self.filled);
        let taken = text.len().min(LOOKED_AT - filled);
        self.start[filled..filled + taken].copy_from_slice(&text[..taken]);
        // At most LOOKED_AT.
        self.filled = u8::try_from(filled + taken).unwrap_or(u8::MAX);
        self.long |= taken < text.len();

        let tail = &text[text.len().saturating_sub(VERSION)..];
        self.end.rotate_left(tail.len() % VERSION);
        self.end[VERSION - tail.len()..].copy_from_slice(tail);
    }
}
