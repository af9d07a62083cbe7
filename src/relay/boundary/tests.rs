#![allow(
    clippy::cast_possible_truncation,
    reason = "the streams of these tests are short"
)]

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{Boundary, Sender, Walk};

const KEY: [u8; 4] = [0x0f, 0xf0, 0x81, 0x7e];

fn key_of(sender: Sender) -> Option<[u8; 4]> {
    (sender == Sender::Client).then_some(KEY)
}

/// A frame as tungstenite writes its header; the payload is nothing but bytes.
fn frame(sender: Sender, opcode: OpCode, is_final: bool, rsv1: bool, len: usize) -> Vec<u8> {
    let header = FrameHeader {
        is_final,
        rsv1,
        opcode,
        mask: key_of(sender),
        ..Default::default()
    };
    let mut out = Vec::new();
    header.format(len as u64, &mut out).unwrap();
    // Bytes that would be headers, were they read as such.
    out.extend([0x88, 0x81, 0x7f, 0x00].iter().cycle().take(len));
    out
}

fn text(sender: Sender, len: usize) -> Vec<u8> {
    frame(sender, OpCode::Data(Data::Text), true, false, len)
}

fn start(sender: Sender, len: usize) -> Vec<u8> {
    frame(sender, OpCode::Data(Data::Text), false, false, len)
}

fn more(sender: Sender, is_final: bool, len: usize) -> Vec<u8> {
    frame(sender, OpCode::Data(Data::Continue), is_final, false, len)
}

fn control(sender: Sender, control: Control, len: usize) -> Vec<u8> {
    frame(sender, OpCode::Control(control), true, false, len)
}

/// What a stream is, told from outside by a parser that is not ours. Offsets are absolute.
#[derive(Debug, Default, PartialEq)]
struct Oracle {
    message_ends: Vec<usize>,
    boundaries: Vec<usize>,
    close: Option<usize>,
    close_end: Option<usize>,
    broken: bool,
    /// Bytes of a frame that is not complete stand at the end.
    partial: bool,
}

impl Oracle {
    /// Reads frame after frame with tungstenite's parser, and adds the checks that it leaves out.
    fn read(sender: Sender, stream: &[u8]) -> Self {
        let mut seen = Self::default();
        let mut cursor = Cursor::new(stream);
        let mut fragmented = false;
        loop {
            let at = cursor.position() as usize;
            if at == stream.len() {
                return seen;
            }
            let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
                seen.broken = true;
                return seen;
            };
            let Some((header, len)) = parsed else {
                // A Close is known by its first byte, before there is a header to parse.
                seen.close = seen.close.or((stream[at] == 0x88).then_some(at));
                seen.partial = true;
                return seen;
            };
            let head = cursor.position() as usize - at;
            let rsv = header.rsv1 || header.rsv2 || header.rsv3;
            let fits = match header.opcode {
                OpCode::Control(_) => header.is_final && !rsv && len <= 125,
                OpCode::Data(Data::Continue) => fragmented && !rsv,
                OpCode::Data(_) => !fragmented,
            };
            let minimal = header.len(len) == head && len >> 63 == 0;
            let masked = header.mask.is_some() == (sender == Sender::Client);
            if !fits || !minimal || !masked || seen.close.is_some() {
                seen.broken = true;
                return seen;
            }
            if header.opcode == OpCode::Control(Control::Close) {
                seen.close = Some(at);
            }
            let end = at as u64 + head as u64 + len;
            if end > stream.len() as u64 {
                seen.partial = true;
                return seen;
            }
            let end = end as usize;
            cursor.set_position(end as u64);
            if let OpCode::Data(_) = header.opcode {
                fragmented = !header.is_final;
                if header.is_final {
                    seen.message_ends.push(end);
                }
            }
            if seen.close.is_some() {
                seen.close_end = Some(end);
            } else if !fragmented {
                seen.boundaries.push(end);
            }
        }
    }

    fn walk(&self, from: usize, to: usize) -> Walk {
        let inside = |end: &&usize| **end > from && **end <= to;
        Walk {
            messages: self.message_ends.iter().filter(inside).count() as u32,
            boundary: self.boundaries.iter().rfind(inside).map(|end| end - from),
            close: self
                .close
                .filter(|at| (from..to).contains(at))
                .map(|at| at - from),
            close_end: self
                .close_end
                .filter(|end| inside(&end))
                .map(|end| end - from),
        }
    }

    fn between(&self, at: usize) -> bool {
        at == 0 || self.boundaries.contains(&at)
    }
}

/// The stretches that `cuts` makes of a stream, empty ones among them.
fn stretches(len: usize, cuts: &[prop::sample::Index]) -> Vec<(usize, usize)> {
    let mut edges: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    edges.extend([0, len]);
    edges.sort_unstable();
    edges.windows(2).map(|edge| (edge[0], edge[1])).collect()
}

/// What is left to see of a tracker when all bytes have passed.
fn state(boundary: &Boundary) -> [bool; 5] {
    [
        boundary.between().is_some(),
        boundary.is_broken(),
        boundary.close_seen(),
        boundary.close_complete(),
        boundary.in_message(),
    ]
}

fn any_sender() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Client), Just(Sender::Agent)]
}

fn any_len() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0usize..20,
        2 => 120usize..130,
        1 => Just(65_535usize),
        1 => Just(65_536usize),
    ]
}

#[derive(Clone, Debug)]
enum Piece {
    Whole {
        binary: bool,
        rsv1: bool,
        len: usize,
    },
    Fragments {
        lens: Vec<usize>,
        pinged: bool,
    },
    Control {
        pong: bool,
        len: usize,
    },
}

fn any_piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), any_len())
            .prop_map(|(binary, rsv1, len)| Piece::Whole { binary, rsv1, len }),
        2 => (vec(any_len(), 2..5), any::<bool>())
            .prop_map(|(lens, pinged)| Piece::Fragments { lens, pinged }),
        1 => (any::<bool>(), 0usize..=125).prop_map(|(pong, len)| Piece::Control { pong, len }),
    ]
}

fn write(sender: Sender, pieces: &[Piece], close: Option<usize>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Whole { binary, rsv1, len } => {
                let data = if *binary { Data::Binary } else { Data::Text };
                out.extend(frame(sender, OpCode::Data(data), true, *rsv1, *len));
            }
            Piece::Fragments { lens, pinged } => {
                for (n, len) in lens.iter().enumerate() {
                    let last = n + 1 == lens.len();
                    out.extend(if n == 0 {
                        start(sender, *len)
                    } else {
                        more(sender, last, *len)
                    });
                    if *pinged && !last {
                        out.extend(control(sender, Control::Ping, n));
                    }
                }
            }
            Piece::Control { pong, len } => {
                let kind = if *pong { Control::Pong } else { Control::Ping };
                out.extend(control(sender, kind, *len));
            }
        }
    }
    if let Some(len) = close {
        out.extend(control(sender, Control::Close, len));
    }
    out
}

proptest! {
    #[test]
    fn any_split_of_a_valid_stream_says_what_the_oracle_says(
        sender in any_sender(),
        pieces in vec(any_piece(), 0..12),
        close in proptest::option::of(0usize..=125),
        end in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        cuts in vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let mut stream = write(sender, &pieces, close);
        if !whole {
            stream.truncate(end.index(stream.len() + 1));
        }
        let oracle = Oracle::read(sender, &stream);
        prop_assert!(!oracle.broken);

        let mut split = Boundary::new(sender);
        for (from, to) in stretches(stream.len(), &cuts) {
            prop_assert_eq!(split.advance(&stream[from..to]), oracle.walk(from, to));
            prop_assert_eq!(split.between().is_some(), oracle.between(to));
            prop_assert_eq!(split.close_complete(), oracle.close_end.is_some_and(|end| end <= to));
        }
        let mut at_once = Boundary::new(sender);
        prop_assert_eq!(at_once.advance(&stream), oracle.walk(0, stream.len()));
        prop_assert_eq!(state(&at_once), state(&split));
    }

    #[test]
    fn byte_by_byte_equals_the_oracle(
        sender in any_sender(),
        pieces in vec(any_piece(), 0..4),
        close in proptest::option::of(0usize..=125),
    ) {
        let stream = write(sender, &pieces, close);
        let oracle = Oracle::read(sender, &stream);
        let mut boundary = Boundary::new(sender);
        for at in 0..stream.len() {
            prop_assert_eq!(boundary.advance(&stream[at..=at]), oracle.walk(at, at + 1));
            prop_assert_eq!(boundary.between().is_some(), oracle.between(at + 1));
        }
    }

    /// Valid streams with bytes changed: as likely as anything to be nearly right.
    #[test]
    fn any_split_of_a_damaged_stream_breaks_where_the_oracle_does(
        sender in any_sender(),
        pieces in vec(any_piece(), 1..8),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = write(sender, &pieces, Some(2));
        for (at, byte) in damage {
            let at = at.index(stream.len().min(200));
            stream[at] = byte;
        }
        check_any(sender, &stream, &cuts)?;
    }

    #[test]
    fn garbage_neither_panics_nor_is_forgiven(
        sender in any_sender(),
        stream in vec(any::<u8>(), 0..300),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        check_any(sender, &stream, &cuts)?;
    }
}

/// Holds a stream of any bytes against the oracle, which says no more than its last whole frame.
fn check_any(
    sender: Sender,
    stream: &[u8],
    cuts: &[prop::sample::Index],
) -> Result<(), TestCaseError> {
    let oracle = Oracle::read(sender, stream);
    let mut split = Boundary::new(sender);
    for (from, to) in stretches(stream.len(), cuts) {
        let was_broken = split.is_broken();
        let walk = split.advance(&stream[from..to]);
        // A Close is told by its first byte, before the oracle has seen a whole header.
        let known = Walk {
            close: None,
            ..walk
        };
        prop_assert_eq!(
            known,
            Walk {
                close: None,
                ..oracle.walk(from, to)
            }
        );
        if was_broken {
            prop_assert_eq!(walk, Walk::default());
            prop_assert!(split.is_broken());
        }
    }
    let mut at_once = Boundary::new(sender);
    let walk = at_once.advance(stream);
    prop_assert_eq!(state(&at_once), state(&split));
    prop_assert_eq!(walk.messages as usize, oracle.message_ends.len());
    if oracle.broken {
        prop_assert!(split.is_broken());
    } else if !oracle.partial {
        prop_assert!(!split.is_broken());
    }
    if split.is_broken() {
        prop_assert_eq!(split.advance(&text(sender, 3)), Walk::default());
        prop_assert!(split.is_broken() && split.between().is_none() && !split.in_message());
    }
    Ok(())
}

/// `stream` is refused, whole and byte by byte, and what stood before it in the stream still counts.
#[track_caller]
fn assert_refused(sender: Sender, stream: &[u8]) {
    let before = text(sender, 5);
    let all = [&before[..], stream, &text(sender, 1)].concat();

    let mut boundary = Boundary::new(sender);
    let walk = boundary.advance(&all);
    assert!(boundary.is_broken(), "taken: {stream:02x?}");
    assert!(boundary.between().is_none() && !boundary.in_message());
    assert_eq!((walk.messages, walk.boundary), (1, Some(before.len())));

    let mut bytewise = Boundary::new(sender);
    for byte in &all {
        bytewise.advance(std::slice::from_ref(byte));
    }
    assert!(bytewise.is_broken(), "taken byte by byte: {stream:02x?}");
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_refused(Sender::Agent, &[0x80 | opcode, 0]);
    }
}

#[test]
fn long_control_frames_are_refused() {
    for opcode in [0x88, 0x89, 0x8a] {
        assert_refused(Sender::Agent, &[opcode, 126, 0, 126]);
        assert_refused(Sender::Agent, &[opcode, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}

#[test]
fn fragmented_control_frames_are_refused() {
    for opcode in [0x08, 0x09, 0x0a] {
        assert_refused(Sender::Agent, &[opcode, 0]);
    }
}

#[test]
fn lengths_in_more_bytes_than_needed_are_refused() {
    assert_refused(Sender::Agent, &[0x82, 126, 0, 125]);
    assert_refused(Sender::Agent, &[0x82, 126, 0, 0]);
    assert_refused(Sender::Agent, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    assert_refused(Sender::Agent, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_refused(Sender::Client, &[0x82, 0xfe, 0, 125, 1, 2, 3, 4]);
}

#[test]
fn the_top_bit_of_a_long_length_is_refused() {
    assert_refused(Sender::Agent, &[0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0]);
    assert_refused(
        Sender::Client,
        &[0x82, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255],
    );
}

#[test]
fn the_greatest_length_is_taken() {
    for sender in [Sender::Client, Sender::Agent] {
        let mut boundary = Boundary::new(sender);
        let mask = if sender == Sender::Client { 0x80 } else { 0 };
        boundary.advance(&[0x82, 0x7f | mask, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
        boundary.advance(&[0; 1000]);
        assert!(!boundary.is_broken() && boundary.in_message());
    }
}

#[test]
fn a_client_without_a_mask_is_refused() {
    assert_refused(Sender::Client, &[0x81, 3, b'a', b'b', b'c']);
    assert_refused(Sender::Client, &[0x89, 0]);
}

#[test]
fn an_agent_with_a_mask_is_refused() {
    assert_refused(Sender::Agent, &[0x81, 0x83, 1, 2, 3, 4, b'a', b'b', b'c']);
    assert_refused(Sender::Agent, &[0x89, 0x80, 1, 2, 3, 4]);
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    assert_refused(Sender::Agent, &[0x80, 0]);
    assert_refused(Sender::Agent, &[0x00, 0]);
    let twice = [start(Sender::Agent, 1), more(Sender::Agent, true, 1)].concat();
    let mut boundary = Boundary::new(Sender::Agent);
    boundary.advance(&twice);
    assert!(!boundary.is_broken());
    boundary.advance(&more(Sender::Agent, true, 1));
    assert!(boundary.is_broken());
}

#[test]
fn a_message_inside_a_message_is_refused() {
    for second in [text(Sender::Client, 2), start(Sender::Client, 2)] {
        assert_refused(Sender::Client, &[start(Sender::Client, 2), second].concat());
    }
}

#[test]
fn reserved_bits_are_refused_where_no_extension_puts_them() {
    for rsv in [0x10, 0x20, 0x40] {
        for opcode in [0x88, 0x89, 0x8a] {
            assert_refused(Sender::Agent, &[opcode | rsv, 0]);
        }
        assert_refused(Sender::Agent, &[0x01, 0, 0x80 | rsv, 0]);
        assert_refused(Sender::Agent, &[0x01, 0, rsv, 0]);

        let mut boundary = Boundary::new(Sender::Agent);
        let walk = boundary.advance(&[0x81 | rsv, 0, 0x02 | rsv, 1, 9, 0x80, 0]);
        assert_eq!((walk.messages, walk.boundary), (2, Some(7)));
        assert!(!boundary.is_broken());
    }
}

#[test]
fn bytes_behind_a_close_are_refused() {
    let close = control(Sender::Client, Control::Close, 2);
    let mut boundary = Boundary::new(Sender::Client);
    let walk = boundary.advance(&close);
    assert_eq!(
        walk,
        Walk {
            close: Some(0),
            close_end: Some(close.len()),
            ..Walk::default()
        }
    );
    assert!(boundary.close_complete() && !boundary.is_broken());
    assert_eq!(boundary.advance(&[]), Walk::default());
    assert!(!boundary.is_broken());
    boundary.advance(&text(Sender::Client, 1)[..1]);
    assert!(boundary.is_broken() && boundary.close_complete());

    assert_refused(Sender::Client, &[close.clone(), close].concat());
}

#[test]
fn a_close_is_known_by_its_first_byte() {
    let mut boundary = Boundary::new(Sender::Agent);
    let before = text(Sender::Agent, 3);
    let walk = boundary.advance(&[&before[..], &[0x88]].concat());
    assert_eq!((walk.close, walk.close_end), (Some(before.len()), None));
    assert_eq!(walk.boundary, Some(before.len()));
    assert!(boundary.close_seen() && !boundary.close_complete() && boundary.between().is_none());

    let walk = boundary.advance(&[2, 0x03, 0xf4]);
    assert_eq!(
        walk,
        Walk {
            close_end: Some(3),
            ..Walk::default()
        }
    );
    assert!(boundary.close_complete());
}

#[test]
fn a_close_between_fragments_ends_the_stream_there() {
    let close = control(Sender::Agent, Control::Close, 0);
    let stream = [start(Sender::Agent, 4), close].concat();
    let mut boundary = Boundary::new(Sender::Agent);
    let walk = boundary.advance(&stream);
    assert_eq!(
        walk,
        Walk {
            close: Some(6),
            close_end: Some(8),
            ..Walk::default()
        }
    );
    assert!(boundary.between().is_none() && boundary.in_message());
}

#[test]
fn a_control_frame_between_fragments_is_no_boundary() {
    let mut boundary = Boundary::new(Sender::Client);
    boundary.advance(&start(Sender::Client, 9));
    let walk = boundary.advance(&control(Sender::Client, Control::Ping, 3));
    assert_eq!(walk, Walk::default());
    assert!(boundary.between().is_none() && boundary.in_message());

    let end = more(Sender::Client, true, 0);
    let walk = boundary.advance(&end);
    assert_eq!((walk.messages, walk.boundary), (1, Some(end.len())));
    assert!(boundary.between().is_some() && !boundary.in_message());
}

#[test]
fn a_partial_header_is_no_boundary() {
    let mut boundary = Boundary::new(Sender::Client);
    assert!(boundary.between().is_some() && !boundary.in_message());
    for byte in [0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4] {
        assert_eq!(boundary.advance(&[byte]), Walk::default());
        assert!(boundary.between().is_none() && boundary.in_message());
    }
    assert_eq!(boundary.advance(&[0; 255]), Walk::default());
    assert_eq!(boundary.advance(&[0]).boundary, Some(1));

    boundary.advance(&[0x89]);
    assert!(boundary.between().is_none() && !boundary.in_message());
}

#[test]
fn a_tracker_is_small() {
    assert!(size_of::<Boundary>() <= 16);
}
