//! The chunked coding up to its trailers (RFC 9112 7.1).

use super::head::MAX_LENGTH;
use super::{Refusal, Violation, step_over};

/// Digits of a chunk's size, leading zeros among them: all that 64 bits need.
const MAX_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions. Nobody we know of sends any; hyper has a bound of its own on
/// their sum.
const MAX_EXTENSION: u16 = 256;

/// Where in a chunk the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Chunks {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        len: u16,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// The line of the last chunk has passed: trailers follow.
    Last,
}

impl Chunks {
    /// In front of a chunk.
    pub(in crate::http) const START: Self = Self::Size { size: 0, digits: 0 };

    /// Walks from `at` until the bytes or the chunks end, and says where that is.
    pub(super) fn walk(&mut self, bytes: &[u8], at: usize) -> Result<usize, Violation> {
        self.visit(bytes, at, |_| {})
    }

    /// Takes what comes next, shows what is in the chunks, and says where they have ended, or the bytes.
    pub(in crate::http) fn take(
        &mut self,
        bytes: &[u8],
        data: impl FnMut(&[u8]),
    ) -> Result<usize, Refusal> {
        let taken = self.visit(bytes, 0, data);
        taken.map_err(|violation| violation.refusal)
    }

    /// Whether the last chunk has passed.
    pub(in crate::http) fn are_over(self) -> bool {
        self == Self::Last
    }

    fn visit(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, Violation> {
        while at < bytes.len() {
            let byte = bytes[at];
            let refuse = |refusal| Err(Violation::nul(refusal, at));
            *self = match *self {
                Self::Size { size, digits } => match (char::from(byte).to_digit(16), byte) {
                    (Some(digit), _) => {
                        let size = size << 4 | u64::from(digit);
                        if digits == MAX_DIGITS || size > MAX_LENGTH {
                            return refuse(Refusal::ChunkSize);
                        }
                        Self::Size {
                            size,
                            digits: digits + 1,
                        }
                    }
                    (None, b'\n') => return refuse(Refusal::BareLf),
                    (None, b'\r') if digits > 0 => Self::SizeLf { size },
                    (None, b';') if digits > 0 => Self::Extension { size, len: 0 },
                    _ => return refuse(Refusal::ChunkSize),
                },
                Self::Extension { size, len } => match byte {
                    b'\r' => Self::SizeLf { size },
                    b'\t' | b' '..=b'~' | 0x80.. if len < MAX_EXTENSION => {
                        Self::Extension { size, len: len + 1 }
                    }
                    _ => {
                        let refusal = match byte {
                            b'\n' => Refusal::BareLf,
                            _ => Refusal::ChunkExtension,
                        };
                        // LF is the one byte that hyper takes for an error here.
                        let spoil = b'\n';
                        return Err(Violation { refusal, at, spoil });
                    }
                },
                Self::SizeLf { size } => match byte {
                    b'\n' if size == 0 => Self::Last,
                    b'\n' => Self::Data { left: size },
                    _ => return refuse(Refusal::BareCr),
                },
                Self::Data { mut left } => {
                    let from = at;
                    at += step_over(&mut left, bytes.len() - at);
                    data(&bytes[from..at]);
                    *self = if left == 0 {
                        Self::DataCr
                    } else {
                        Self::Data { left }
                    };
                    continue;
                }
                Self::DataCr if byte == b'\r' => Self::DataLf,
                Self::DataLf if byte == b'\n' => Self::START,
                Self::DataCr | Self::DataLf => return refuse(Refusal::ChunkEnd),
                Self::Last => return Ok(at),
            };
            at += 1;
        }
        Ok(at)
    }
}
