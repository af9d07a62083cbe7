//! Where one direction of a WebSocket stream stands between two messages (RFC 6455 5).
//!
//! The tracker reads frame headers only. Payload is a number of bytes to step over, a masking key
//! is counted with it, and nothing is kept of either. What it says depends on the bytes alone, not
//! on how reads happened to cut them.

mod measure;

#[cfg(test)]
mod tests;

pub(super) use measure::{HEADER, Measured};

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const TEXT_MESSAGE: u8 = FIN | TEXT;
const BINARY_MESSAGE: u8 = FIN | BINARY;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// The most payload bytes of a control frame, and the greatest length written in seven bits.
const SHORT_LENGTH: u8 = 125;
const LENGTH_16: u8 = 126;
/// Bytes of the header behind which its length is known: two, and two or eight of extended length.
const HEAD_SHORT: u8 = 2;
const HEAD_16: u8 = HEAD_SHORT + 2;
const HEAD_64: u8 = HEAD_SHORT + 8;
const MASKING_KEY: usize = 4;

/// Who sends in the tracked direction; a client masks its frames, an agent does not (RFC 6455 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Frames carry a masking key.
    Client,
    /// Frames carry none.
    Agent,
}

/// Proof that a direction stands between two messages; only the tracker hands it out.
#[derive(Debug)]
pub struct Between(());

/// What a stretch of bytes held. Offsets count from the start of the stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Data messages that ended in it.
    pub messages: u32,
    /// Just behind the last byte at which the stream stood between two messages
    /// (`0 < offset <= len`); `None` if there was no such point inside. Behind a Close frame there
    /// is none, since nothing may follow it.
    pub boundary: Option<usize>,
    /// Where the first byte of the first Close frame stands. A Close is recognised by that byte, so
    /// it is told even if the rest of the header is yet to come.
    pub close: Option<usize>,
    /// Just behind the last byte of that Close frame.
    pub close_end: Option<usize>,
}

/// What the end of the frame under way means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// Ends a data message.
    Last,
    /// Leaves a data message open for more fragments.
    Fragment,
    /// A Ping or a Pong: changes nothing.
    Control,
    /// Ends the stream.
    Close,
}

/// The tracker of one direction's frame headers.
///
/// It follows the framing strictly: at the first violation it is *broken*, and from there on no
/// boundary is known. Extensions are not interpreted: RSV bits may stand on the first frame of a
/// data message and nowhere else.
#[derive(Debug)]
pub struct Boundary {
    /// Inside a header the length read so far; otherwise the bytes of the frame that are still to
    /// come, masking key included.
    left: u64,
    /// Bytes of the current header that were read; 0 outside a header.
    head: u8,
    /// Bytes that the current header has up to its masking key; known from the second byte on.
    head_len: u8,
    /// The frame under way; without meaning between two frames.
    frame: Frame,
    /// The mask bit as this sender has to set it.
    mask: u8,
    /// A data message has begun with a fragment that was not its last.
    fragmented: bool,
    close_seen: bool,
    close_complete: bool,
    broken: bool,
}

impl Boundary {
    /// A tracker at the first byte of a stream, which is between two messages.
    pub const fn new(sender: Sender) -> Self {
        Self {
            left: 0,
            head: 0,
            head_len: HEAD_SHORT,
            frame: Frame::Control,
            mask: match sender {
                Sender::Client => MASKED,
                Sender::Agent => 0,
            },
            fragmented: false,
            close_seen: false,
            close_complete: false,
            broken: false,
        }
    }

    /// Walks over the bytes that come next in the stream and says what they held.
    ///
    /// If they violate the framing, what stood before the violation is told and nothing behind it.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8]) -> Walk {
        let mut walk = Walk::default();
        let at = self.whole_messages(bytes, 0, &mut walk);
        if at < bytes.len() {
            self.any_bytes(bytes, at, &mut walk);
        }
        walk
    }

    /// Proof that the stream stands between two messages: the last frame and the last message are
    /// complete, nothing is broken, and no Close has begun.
    #[inline]
    pub fn between(&self) -> Option<Between> {
        let between = self.head == 0
            && self.left == 0
            && !self.fragmented
            && !self.close_seen
            && !self.broken;
        between.then_some(Between(()))
    }

    /// Whether the framing was violated: nothing is known from there on.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the first byte of a Close frame has passed.
    #[inline]
    pub fn close_seen(&self) -> bool {
        self.close_seen
    }

    /// Whether a whole Close frame has passed.
    #[inline]
    pub fn close_complete(&self) -> bool {
        self.close_complete
    }

    /// Whether a data message has begun and not ended. In a broken stream that can't be known, and
    /// the answer is `false`.
    #[inline]
    pub fn in_message(&self) -> bool {
        let in_frame = self.head > 0 || self.left > 0;
        let in_data = in_frame && matches!(self.frame, Frame::Last | Frame::Fragment);
        (self.fragmented || in_data) && !self.broken
    }

    /// The short way over what is the usual case by far: unfragmented messages that begin where the
    /// stream stands between two and end inside the stretch. Gives where it stopped; everything else
    /// is left to the long way, violations included.
    #[inline(always)]
    fn whole_messages(&self, bytes: &[u8], mut at: usize, walk: &mut Walk) -> usize {
        if self.between().is_none() {
            return at;
        }
        let key = self.key_len();
        while let Some(&[first, second]) = bytes.get(at..at + 2) {
            // A wrong mask bit makes the length greater than any that is looked at here.
            let length = second ^ self.mask;
            let payload = if length <= SHORT_LENGTH {
                usize::from(length) + 2
            } else if length == LENGTH_16
                && let Some(&[high, low]) = bytes.get(at + 2..at + 4)
                && (high > 0 || low > SHORT_LENGTH)
            {
                usize::from(u16::from_be_bytes([high, low])) + 4
            } else {
                break;
            };
            let end = at + key + payload;
            let message = matches!(first & !RESERVED_BITS, TEXT_MESSAGE | BINARY_MESSAGE);
            if !message || end > bytes.len() {
                break;
            }
            walk.messages = walk.messages.saturating_add(1);
            walk.boundary = Some(end);
            at = end;
        }
        at
    }

    /// The long way: any frame, cut anywhere.
    fn any_bytes(&mut self, bytes: &[u8], mut at: usize, walk: &mut Walk) {
        while at < bytes.len() && !self.broken {
            if self.head > 0 {
                if self.head == 1 {
                    self.second_byte(bytes[at]);
                } else {
                    self.length_byte(bytes[at]);
                }
                at += 1;
                if self.head == self.head_len && !self.broken {
                    self.end_header(at, walk);
                }
            } else if self.left > 0 {
                let here = bytes.len() - at;
                match usize::try_from(self.left) {
                    Ok(left) if left <= here => {
                        at += left;
                        self.end_frame(at, walk);
                        at = self.whole_messages(bytes, at, walk);
                    }
                    // More to come than is here.
                    _ => {
                        self.left = self.left.saturating_sub(here as u64);
                        return;
                    }
                }
            } else {
                self.first_byte(bytes[at], at, walk);
                at += 1;
            }
        }
    }

    /// FIN, RSV and opcode (RFC 6455 5.2, 5.4, 5.5).
    #[inline(always)]
    fn first_byte(&mut self, byte: u8, at: usize, walk: &mut Walk) {
        let last = byte & FIN != 0;
        let reserved = byte & RESERVED_BITS != 0;
        let (frame, allowed) = match byte & OPCODE {
            TEXT | BINARY if last => (Frame::Last, !self.fragmented),
            TEXT | BINARY => (Frame::Fragment, !self.fragmented),
            CONTINUATION if last => (Frame::Last, self.fragmented && !reserved),
            CONTINUATION => (Frame::Fragment, self.fragmented && !reserved),
            PING | PONG => (Frame::Control, last && !reserved),
            CLOSE => (Frame::Close, last && !reserved),
            _ => (Frame::Control, false),
        };
        // RFC 6455 5.5.1: nothing follows a Close.
        if !allowed || self.close_complete {
            self.broken = true;
            return;
        }
        if frame == Frame::Close {
            self.close_seen = true;
            walk.close = Some(at);
        }
        self.frame = frame;
        self.head = 1;
        self.head_len = HEAD_SHORT;
    }

    /// The mask bit and the first seven bits of length (RFC 6455 5.1, 5.2, 5.5).
    #[inline(always)]
    fn second_byte(&mut self, byte: u8) {
        let length = byte & LENGTH;
        let control = matches!(self.frame, Frame::Control | Frame::Close);
        if byte & MASKED != self.mask || (control && length > SHORT_LENGTH) {
            self.broken = true;
            return;
        }
        self.head = HEAD_SHORT;
        if length <= SHORT_LENGTH {
            self.left = u64::from(length);
        } else {
            self.head_len = if length == LENGTH_16 {
                HEAD_16
            } else {
                HEAD_64
            };
        }
    }

    /// One more byte of an extended length.
    #[inline]
    fn length_byte(&mut self, byte: u8) {
        self.left = self.left << 8 | u64::from(byte);
        self.head += 1;
    }

    /// The length is known: it must have been written in the fewest bytes, and without the top bit
    /// (RFC 6455 5.2).
    #[inline(always)]
    fn end_header(&mut self, at: usize, walk: &mut Walk) {
        let lengths = match self.head_len {
            HEAD_16 => u64::from(SHORT_LENGTH) + 1..=u64::from(u16::MAX),
            HEAD_64 => u64::from(u16::MAX) + 1..=u64::MAX >> 1,
            _ => 0..=u64::from(SHORT_LENGTH),
        };
        match self.left.checked_add(self.key_len() as u64) {
            Some(left) if lengths.contains(&self.left) => {
                self.left = left;
                self.head = 0;
                if left == 0 {
                    self.end_frame(at, walk);
                }
            }
            _ => self.broken = true,
        }
    }

    /// Bytes of masking key in every header of this direction.
    #[inline(always)]
    fn key_len(&self) -> usize {
        if self.mask == MASKED { MASKING_KEY } else { 0 }
    }

    #[inline(always)]
    fn end_frame(&mut self, at: usize, walk: &mut Walk) {
        self.left = 0;
        match self.frame {
            Frame::Last => {
                self.fragmented = false;
                walk.messages = walk.messages.saturating_add(1);
            }
            Frame::Fragment => self.fragmented = true,
            Frame::Control => {}
            Frame::Close => {
                self.close_complete = true;
                walk.close_end = Some(at);
            }
        }
        if !self.fragmented && !self.close_seen {
            walk.boundary = Some(at);
        }
    }
}
