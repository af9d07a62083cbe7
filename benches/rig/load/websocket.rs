//! 64-byte messages, bare or in WebSocket frames.

use super::http::head_len;
use super::payload::PAYLOAD;
use crate::Result;

/// A payload's length as a frame's header has it.
#[allow(clippy::cast_possible_truncation, reason = "64")]
const PAYLOAD_LEN: u8 = PAYLOAD as u8;
/// A header of two bytes and a mask.
const MASKED: usize = 2 + 4 + PAYLOAD;
/// A header of two bytes.
const UNMASKED: usize = 2 + PAYLOAD;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// A final frame with binary data, RFC 6455 section 5.2.
pub(crate) const BINARY: u8 = 0x82;
/// A Close with 1000 as a client sends it, its mask being zero.
pub(crate) const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
/// The agent's answer to it.
pub(crate) const CLOSE_BACK: &[u8] = &[0x88, 0x02, 0x03, 0xe8];

/// Whether this is a whole Close frame of a client: a header of two bytes and a mask before what is said in it.
pub(crate) fn is_close(frame: &[u8]) -> bool {
    matches!(frame, [0x88, len, ..] if frame.len() == 6 + usize::from(len & 0x7f))
}

/// What is spoken through the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The payload alone.
    Tcp,
    /// An HTTP upgrade, then one frame a message: masked towards the agent, bare towards the client.
    WebSocket,
}

// The example of RFC 6455 section 1.3, so that nothing has to be hashed here.
pub(crate) const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The request for an upgrade at this path.
pub(crate) fn upgrade(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: agent\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Whether the upgrade was granted; takes the answer off `got`.
pub(crate) fn is_upgraded(got: &mut Vec<u8>) -> Result<bool> {
    let Some(head) = head_len(got) else {
        return Ok(false);
    };
    if !got.starts_with(b"HTTP/1.1 101") {
        let answer = String::from_utf8_lossy(got);
        return Err(format!("the upgrade was refused: {answer}").into());
    }
    got.drain(..head);
    Ok(true)
}

impl Protocol {
    /// As it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
        }
    }

    /// The length of a message on its way to the agent.
    pub(crate) fn request_len(self) -> usize {
        match self {
            Self::Tcp => PAYLOAD,
            Self::WebSocket => MASKED,
        }
    }

    /// The length of a message on its way to the client.
    pub(crate) fn answer_len(self) -> usize {
        match self {
            Self::Tcp => PAYLOAD,
            Self::WebSocket => UNMASKED,
        }
    }

    /// Puts the message with these contents into `out` as the client sends it.
    pub(crate) fn request(self, payload: &[u8; PAYLOAD], out: &mut Vec<u8>) {
        match self {
            Self::Tcp => out.extend_from_slice(payload),
            Self::WebSocket => {
                out.extend_from_slice(&[BINARY, 0x80 | PAYLOAD_LEN]);
                out.extend_from_slice(&MASK);
                out.extend(masked(payload));
            }
        }
    }

    /// Puts the agent's echo of one whole request into `out`.
    pub(crate) fn echo(self, request: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Tcp => out.extend_from_slice(request),
            Self::WebSocket => {
                if request[..2] != [BINARY, 0x80 | PAYLOAD_LEN] || request[2..6] != MASK {
                    return Err("the agent got a frame that no client sent".into());
                }
                out.extend_from_slice(&[BINARY, PAYLOAD_LEN]);
                out.extend(masked(&request[6..]));
            }
        }
        Ok(())
    }

    /// Whether `answer` is the echo of this payload.
    pub(crate) fn is_echo(self, answer: &[u8], payload: &[u8; PAYLOAD]) -> bool {
        match self {
            Self::Tcp => answer == payload,
            Self::WebSocket => answer[..2] == [BINARY, PAYLOAD_LEN] && answer[2..] == *payload,
        }
    }
}

fn masked(payload: &[u8]) -> impl Iterator<Item = u8> {
    payload
        .iter()
        .zip(MASK.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
}
