use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;

use super::close_frame;
use crate::relay::boundary::{Boundary, Sender};

fn ours(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    close_frame(code, reason, mask, &mut out);
    out
}

fn theirs(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let close = CloseFrame {
        code: code.into(),
        reason: reason.into(),
    };
    let mut frame = Frame::close(Some(close));
    frame.header_mut().mask = mask;
    let mut out = Vec::new();
    frame.format(&mut out).unwrap();
    out
}

#[test]
fn the_known_bytes_of_1012() {
    assert_eq!(
        ours(1012, "bye", None),
        [0x88, 5, 0x03, 0xf4, b'b', b'y', b'e']
    );
    assert_eq!(
        ours(1001, "", Some([1, 2, 3, 4])),
        [0x88, 0x82, 1, 2, 3, 4, 0x02, 0xeb]
    );
}

#[test]
fn a_long_reason_is_cut_on_a_character() {
    // The 62nd of these two-byte characters would end at byte 124.
    let frame = ours(1012, &"é".repeat(100), None);
    assert_eq!(frame[1], 2 + 122);
    assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), "é".repeat(61));

    let frame = ours(1012, &"x".repeat(124), Some([9; 4]));
    assert_eq!((frame[1], frame.len()), (0x80 | 125, 131));
}

#[test]
fn what_is_in_the_buffer_stays() {
    let mut out = b"before".to_vec();
    close_frame(1012, "", None, &mut out);
    assert_eq!(out, b"before\x88\x02\x03\xf4");
}

proptest! {
    #[test]
    fn equals_tungstenite(
        code in 1000u16..5000,
        reason in "\\PC{0,30}",
        mask in proptest::option::of(any::<[u8; 4]>()),
    ) {
        prop_assume!(reason.len() <= 123);
        prop_assert_eq!(ours(code, &reason, mask), theirs(code, &reason, mask));
    }

    #[test]
    fn the_tracker_takes_it_for_a_whole_close(
        code in any::<u16>(),
        reason in "\\PC{0,200}",
        mask in proptest::option::of(any::<[u8; 4]>()),
    ) {
        let frame = ours(code, &reason, mask);
        let sender = if mask.is_some() { Sender::Client } else { Sender::Agent };
        let mut boundary = Boundary::new(sender);
        let walk = boundary.advance(&frame);
        prop_assert_eq!((walk.close, walk.close_end), (Some(0), Some(frame.len())));
        prop_assert!(boundary.close_complete() && !boundary.is_broken());
    }
}
