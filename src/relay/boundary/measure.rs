//! The walk where messages have a largest size: the same steps, one by one, with a sum.
//!
//! A header that is cut by the end of the stretch is held back until it is whole, so that a frame
//! that is too large has not begun on the other side, and a Close can stand in its place.

use super::{Boundary, Frame, Walk};

/// The longest that a header is up to its masking key.
pub(in crate::relay) const HEADER: usize = super::HEAD_64 as usize;

/// What a stretch held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::relay) struct Measured {
    /// As without a largest size, but for what is held back.
    pub(in crate::relay) walk: Walk,
    /// Bytes at the end of the stretch that are the beginning of a header. The next stretch begins
    /// with them.
    pub(in crate::relay) held: usize,
    /// Where the header stands of the first frame that makes its message too large.
    pub(in crate::relay) too_large: Option<usize>,
}

impl Boundary {
    /// Walks over the bytes that come next, as [`Boundary::advance`], with `size` the payload of the
    /// message under way and `most` the largest.
    pub(in crate::relay) fn advance_measured(
        &mut self,
        bytes: &[u8],
        size: &mut u64,
        most: u64,
    ) -> Measured {
        let mut measured = Measured::default();
        let walk = &mut measured.walk;
        let (mut at, mut start) = (0, 0);
        while at < bytes.len() && !self.broken {
            if self.head == 0 && self.left == 0 {
                start = at;
                self.first_byte(bytes[at], at, walk);
                at += 1;
            } else if self.head > 0 {
                match self.head {
                    1 => self.second_byte(bytes[at]),
                    _ => self.length_byte(bytes[at]),
                }
                at += 1;
                if self.head == self.head_len && !self.broken {
                    if self.is_too_large(size, most) {
                        measured.too_large.get_or_insert(start);
                    }
                    self.end_header(at, walk);
                }
            } else {
                let here = (bytes.len() - at) as u64;
                if self.left > here {
                    self.left -= here;
                    at = bytes.len();
                } else {
                    at += usize::try_from(self.left).unwrap_or(0);
                    self.end_frame(at, walk);
                }
            }
        }
        if self.head > 0 && !self.broken {
            measured.held = usize::from(self.head);
            self.head = 0;
            self.left = 0;
            if self.frame == Frame::Close {
                self.close_seen = false;
                walk.close = None;
            }
        }
        measured
    }

    /// Adds the frame whose length was read just now to its message.
    fn is_too_large(&self, size: &mut u64, most: u64) -> bool {
        let sum = size.saturating_add(self.left);
        match self.frame {
            Frame::Last => *size = 0,
            Frame::Fragment => *size = sum,
            Frame::Control | Frame::Close => return false,
        }
        sum > most
    }
}
