//! Where an event stream stands between two events (WHATWG HTML, "Parsing an event stream").

use memchr::memchr2_iter;

#[cfg(test)]
mod tests;

/// Follows the line ends of a `text/event-stream` body, and nothing else of it.
///
/// An event ends with an empty line. A line ends with LF, CR or CRLF, in any mixture, so a CR at the
/// end of the bytes at hand may be followed by an LF that belongs to it: the stream stands behind
/// the event already, and that LF then moves the boundary by one byte.
#[derive(Debug)]
pub(super) struct EventBoundary {
    last: Last,
}

/// What the stream ends in, as far as it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// An empty line, or nothing has passed yet. An LF behind it is the rest of a CRLF or another
    /// empty line: the stream stands between two events either way.
    Event,
    /// The end of a line that was not empty.
    Line,
    /// The same, ended in CR: an LF is still part of it.
    LineCr,
    /// A byte of a line.
    Text,
}

impl Default for EventBoundary {
    fn default() -> Self {
        Self::new()
    }
}

impl EventBoundary {
    /// A tracker at the first byte of a body, which is a boundary.
    pub(super) const fn new() -> Self {
        Self { last: Last::Event }
    }

    /// Walks over the bytes that come next, and gives the offset just behind the last end of an
    /// event in them; `None` if no event ended there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut boundary, mut line) = (None, 0);
        for at in memchr2_iter(b'\n', b'\r', bytes) {
            if at > line {
                self.last = Last::Text;
            }
            self.last = match (bytes[at], self.last) {
                (b'\n', Last::Event | Last::Line) => Last::Event,
                (b'\n', Last::LineCr | Last::Text) => Last::Line,
                (_, Last::Text) => Last::LineCr,
                _ => Last::Event,
            };
            line = at + 1;
            if self.at_boundary() {
                boundary = Some(line);
            }
        }
        if line < bytes.len() {
            self.last = Last::Text;
        }
        boundary
    }

    /// Whether the stream stands between two events: at its very start, or behind an empty line.
    pub(super) fn at_boundary(&self) -> bool {
        self.last == Last::Event
    }
}
