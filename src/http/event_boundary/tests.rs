use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::EventBoundary;

/// All boundaries of a whole stream, told from outside: the lines are found first, by rewriting
/// nothing and looking ahead, and then those that are empty.
fn boundaries(stream: &[u8]) -> Vec<usize> {
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    while at < stream.len() {
        let end = match &stream[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => {
                at += 1;
                continue;
            }
        };
        if at == start {
            // Between CR and its LF the event has ended as well.
            found.extend((1..=end).map(|behind| at + behind));
        }
        at += end;
        start = at;
    }
    found
}

#[track_caller]
fn assert_boundary(stream: &str, expected: Option<usize>) {
    let mut tracker = EventBoundary::new();
    assert_eq!(tracker.advance(stream.as_bytes()), expected, "{stream:?}");
    let at = expected == Some(stream.len());
    assert_eq!(tracker.at_boundary(), at, "{stream:?}");
}

#[test]
fn an_empty_line_ends_an_event_however_lines_end() {
    assert_boundary("data: a\n\n", Some(9));
    assert_boundary("data: a\r\r", Some(9));
    assert_boundary("data: a\r\n\r\n", Some(11));
    assert_boundary("data: a\r\n\n", Some(10));
    assert_boundary("data: a\r\n\r", Some(10));
    assert_boundary("data: a\n\r\n", Some(10));
    assert_boundary("data: a\n\r", Some(9));
}

#[test]
fn one_line_end_is_none() {
    assert_boundary("data: a", None);
    assert_boundary("data: a\n", None);
    assert_boundary("data: a\r", None);
    assert_boundary("data: a\r\n", None);
    assert_boundary("data: a\n\nid: 1\r\n", Some(9));
    assert_boundary("data: a\r\ndata: b\rdata: c\n", None);
}

#[test]
fn the_start_is_a_boundary_and_a_byte_order_mark_is_not() {
    let mut tracker = EventBoundary::new();
    assert!(tracker.at_boundary());
    assert_eq!(tracker.advance(b""), None);
    assert!(tracker.at_boundary());
    assert_eq!(tracker.advance("\u{feff}".as_bytes()), None);
    assert!(!tracker.at_boundary());
}

#[test]
fn an_lf_behind_a_chunk_that_ends_in_cr_belongs_to_it() {
    let mut tracker = EventBoundary::new();
    assert_eq!(tracker.advance(b"data: a\r"), None);
    assert_eq!(tracker.advance(b"\n"), None);
    assert!(!tracker.at_boundary());
    assert_eq!(tracker.advance(b"\r"), Some(1));
    assert!(tracker.at_boundary());
    assert_eq!(tracker.advance(b"\ndata"), Some(1));
    assert!(!tracker.at_boundary());
}

proptest! {
    #[test]
    fn any_split_equals_the_whole(
        stream in "[ab:\r\n]{0,60}",
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let stream = stream.as_bytes();
        let known = boundaries(stream);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut tracker, mut from) = (EventBoundary::new(), 0);
        for to in cuts.into_iter().chain([stream.len()]) {
            let last = known.iter().rfind(|at| **at > from && **at <= to);
            prop_assert_eq!(tracker.advance(&stream[from..to]), last.map(|at| at - from));
            prop_assert_eq!(tracker.at_boundary(), to == 0 || known.contains(&to));
            from = to;
        }
        let mut whole = EventBoundary::new();
        prop_assert_eq!(whole.advance(stream), known.last().copied());
    }
}
