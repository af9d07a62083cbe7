//! WebSocket frames in the raw (RFC 6455, 5.2), so that a test decides where each one begins.

use super::wire::Wire;

/// Continues a fragmented message.
pub const CONTINUATION: u8 = 0x0;
/// Begins a text message.
pub const TEXT: u8 = 0x1;
/// Begins a binary message.
pub const BINARY: u8 = 0x2;
/// Ends the conversation.
pub const CLOSE: u8 = 0x8;
/// Asks for a sign of life.
pub const PING: u8 = 0x9;
/// Gives it.
pub const PONG: u8 = 0xa;

/// One frame, its payload unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether the message ends with it.
    pub last: bool,
    /// The three reserved bits.
    pub reserved: u8,
    /// What it is.
    pub opcode: u8,
    /// Whether it came masked.
    pub masked: bool,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame that is a whole message, or a control frame.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
        Frame {
            last: true,
            reserved: 0,
            opcode,
            masked: false,
            payload: payload.into(),
        }
    }

    /// A frame with more of its message to follow.
    pub fn part(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
        Frame {
            last: false,
            ..Frame::new(opcode, payload)
        }
    }

    /// A Close with a code.
    pub fn close(code: u16) -> Frame {
        Frame::new(CLOSE, code.to_be_bytes())
    }

    /// The code of a Close.
    pub fn close_code(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.payload.get(..2)?.try_into().ok()?))
    }

    /// The bytes as an agent sends them.
    pub fn plain(&self) -> Vec<u8> {
        self.encode(None)
    }

    /// The bytes as a client sends them.
    pub fn masked(&self) -> Vec<u8> {
        self.encode(Some([0x37, 0xfa, 0x21, 0x3d]))
    }

    fn encode(&self, key: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.last) << 7 | self.reserved << 4 | self.opcode];
        let masked = u8::from(key.is_some()) << 7;
        let length = self.payload.len();
        match length {
            0..=125 => bytes.push(masked | length as u8),
            126..=0xffff => {
                bytes.push(masked | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let key = key.inspect(|key| bytes.extend(key)).unwrap_or_default();
        bytes.extend(
            self.payload
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        bytes
    }

    /// Takes the first frame off `bytes`, if it is there as a whole.
    fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (
                u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let masked = second & 0x80 != 0;
        let mut key = [0; 4];
        if masked {
            key.copy_from_slice(bytes.get(at..at + 4)?);
            at += 4;
        }
        let end = at + usize::try_from(length).expect("a length that fits");
        let payload = bytes.get(at..end)?.iter().zip(key.iter().cycle());
        let payload = payload.map(|(byte, key)| byte ^ key).collect();
        bytes.drain(..end);
        let (last, reserved) = (first & 0x80 != 0, first >> 4 & 0x7);
        Some(Frame {
            last,
            reserved,
            opcode: first & 0xf,
            masked,
            payload,
        })
    }

    /// The next frame of a connection; nothing, if it ends first. Cancel safe.
    pub async fn read(wire: &mut Wire) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut wire.ahead) {
                return Some(frame);
            }
            if !wire.more().await {
                return None;
            }
        }
    }
}
