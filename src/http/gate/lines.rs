//! CRLF lines out of reads that may cut them anywhere.

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

impl Line<'_> {
    pub fn is_empty(&self) -> bool {
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
    pub fn new() -> Self {
        Self {
            start: [0; LOOKED_AT],
            filled: 0,
            end: [0; VERSION],
            long: false,
            cr: false,
        }
    }

    /// Whether no byte of a line has been read, but for the CR of an empty one.
    pub fn at_start(&self) -> bool {
        self.filled == 0
    }

    /// The line that ends in `bytes[at..]` and where the next one begins; `None` if it does not end
    /// there, in which case all of it has been kept. [`Lines::forget`] makes ready for the next.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a [u8],
        at: usize,
    ) -> Result<Option<(Line<'a>, usize)>, Violation> {
        let rest = &bytes[at..];
        // A CR that ended the last read is behind the line's last byte already.
        let text = if self.cr {
            0
        } else {
            scan::control(rest).unwrap_or(rest.len())
        };
        let lf = if self.cr {
            0
        } else {
            match rest.get(text) {
                Some(b'\r') => text + 1,
                Some(b'\n') => return Err(Violation::nul(Refusal::BareLf, at + text)),
                Some(_) => return Err(Violation::nul(Refusal::Nul, at + text)),
                None => {
                    self.keep(rest);
                    return Ok(None);
                }
            }
        };
        let (text, cut) = (&rest[..text], self.filled > 0);
        match rest.get(lf) {
            Some(b'\n') => {
                let line = if cut {
                    self.keep(text);
                    self.kept()
                } else {
                    Line {
                        start: &text[..text.len().min(LOOKED_AT)],
                        end: &text[text.len().saturating_sub(VERSION)..],
                        long: text.len() > LOOKED_AT,
                    }
                };
                Ok(Some((line, at + lf + 1)))
            }
            Some(_) => Err(Violation::nul(Refusal::BareCr, at + lf)),
            None => {
                self.keep(text);
                self.cr = true;
                Ok(None)
            }
        }
    }

    /// Makes ready for the next line.
    #[inline]
    pub fn forget(&mut self) {
        self.filled = 0;
        self.long = false;
        self.cr = false;
    }

    fn kept(&self) -> Line<'_> {
        let start = &self.start[..usize::from(self.filled)];
        Line {
            start,
            end: &self.end[VERSION - start.len().min(VERSION)..],
            long: self.long,
        }
    }

    #[cold]
    fn keep(&mut self, text: &[u8]) {
        let filled = usize::from(self.filled);
        let taken = text.len().min(LOOKED_AT - filled);
        self.start[filled..filled + taken].copy_from_slice(&text[..taken]);
        // At most LOOKED_AT.
        self.filled = (filled + taken) as u8;
        self.long |= taken < text.len();

        let tail = &text[text.len().saturating_sub(VERSION)..];
        self.end.rotate_left(tail.len() % VERSION);
        self.end[VERSION - tail.len()..].copy_from_slice(tail);
    }
}
