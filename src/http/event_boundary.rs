//! Where events end in an event stream (HTML, "Parsing an event stream").

/// Follows the line ends of a `text/event-stream` body; sees nothing else of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventBoundary {
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Behind a blank line, or at the very start: between two events.
    Blank,
    /// The same, and the blank line ended in a CR whose LF may follow.
    BlankCr,
    /// At the start of a line within an event.
    Start,
    /// The same, and the line before ended in a CR whose LF may follow.
    StartCr,
    /// Within a line.
    Text,
}

impl EventBoundary {
    pub(super) fn new() -> EventBoundary {
        EventBoundary { line: Line::Blank }
    }

    /// Whether the stream stands between two events.
    pub(super) fn at_boundary(self) -> bool {
        matches!(self.line, Line::Blank | Line::BlankCr)
    }

    /// Follows more of the stream; the offset just behind the last event that ended in it.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut last = None;
        for (at, byte) in bytes.iter().enumerate() {
            self.line = match (self.line, byte) {
                (Line::BlankCr, b'\n') => Line::Blank,
                (Line::StartCr, b'\n') => Line::Start,
                (Line::Text, b'\n') => Line::Start,
                (Line::Text, b'\r') => Line::StartCr,
                (_, b'\n') => Line::Blank,
                (_, b'\r') => Line::BlankCr,
                _ => Line::Text,
            };
            if self.at_boundary() {
                last = Some(at + 1);
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn last_boundary(bytes: &[u8]) -> Option<usize> {
        EventBoundary::new().advance(bytes)
    }

    #[test]
    fn every_kind_of_line_end_ends_an_event() {
        assert_eq!(last_boundary(b"data: 1\n\ndata: 2\n"), Some(9));
        assert_eq!(last_boundary(b"data: 1\r\rdata: 2\r"), Some(9));
        assert_eq!(last_boundary(b"data: 1\r\n\r\ndata: 2\r\n"), Some(11));
        assert_eq!(last_boundary(b"data: 1\r\n\ndata"), Some(10));
        assert_eq!(last_boundary(b"data: 1\n"), None);
    }

    #[test]
    fn a_line_feed_behind_a_split_return_belongs_to_it() {
        let mut boundary = EventBoundary::new();
        assert_eq!(boundary.advance(b"data: 1\r"), None);
        assert_eq!(boundary.advance(b"\n"), None, "one line end, not two");
        assert_eq!(boundary.advance(b"\r"), Some(1));
        assert!(boundary.at_boundary());
        assert_eq!(boundary.advance(b"\n"), Some(1));
        assert_eq!(boundary.advance(b"x"), None);
        assert!(!boundary.at_boundary());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_boundaries(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x')], 0..60),
            cut in 0usize..60,
        ) {
            let cut = cut.min(text.len());
            let mut whole = EventBoundary::new();
            let expected = whole.advance(&text);
            let mut split = EventBoundary::new();
            let first = split.advance(&text[..cut]);
            let second = split.advance(&text[cut..]).map(|at| at + cut);
            prop_assert_eq!(second.or(first), expected);
            prop_assert_eq!(split.at_boundary(), whole.at_boundary());
        }
    }
}
