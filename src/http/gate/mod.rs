//! The gate in front of hyper's request parser: framing that could be read two ways does not pass.
//!
//! hyper takes a bare LF for a line's end, Content-Length beside Transfer-Encoding, and the same
//! Content-Length twice. Each of them is a place where another parser on the way may see another
//! request than we do (RFC 9112 11.2), so the gate reads the client's bytes first and refuses them.
//! It keeps no more of a request than the line that a read has cut, and it decides by the bytes
//! alone, not by how reads cut them.
//!
//! It refuses by spoiling one byte, so that hyper itself gives the answer: 400 for a head, a failed
//! body for a chunk. A reader that wants this at once, and not when the client sends more, gives
//! hyper [`END`] behind the spoiled bytes and the end of the stream after it.

mod chunks;
mod head;
mod lines;
mod scan;
#[cfg(test)]
mod tests;

pub use self::head::opens;

pub(super) use self::chunks::Chunks;
use self::head::Head;
use self::lines::Lines;

/// Ends whatever head or trailers were refused. hyper does not parse an incomplete head again until
/// it has seen an end of one, and the byte that was spoiled may have been that.
pub const END: &[u8] = b"\r\n\r\n";

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A line ends in LF without CR.
    #[error("line ended by a bare LF")]
    BareLf,
    /// A CR stands where no LF follows it.
    #[error("CR without LF")]
    BareCr,
    /// A control character other than TAB in a head or in trailers, NUL among them.
    #[error("control character")]
    Control,
    /// A line begins with whitespace (RFC 9112 5.2, and 2.2 for the first one).
    #[error("folded field line")]
    ObsFold,
    /// Whitespace between a field's name and its colon (RFC 9112 5.1).
    #[error("whitespace before the colon of a field")]
    SpaceBeforeColon,
    /// A field line without a name or without a colon. Whether a name is a token is left to hyper.
    #[error("malformed field name")]
    FieldName,
    /// A name that some agents take for Content-Length or Transfer-Encoding: `_` in place of `-`.
    #[error("field name that resembles a framing field")]
    FramingLookalike,
    /// More than one Content-Length, equal or not.
    #[error("more than one Content-Length")]
    ContentLengthTwice,
    /// A Content-Length that is not digits alone, or is greater than 2^63-1.
    #[error("invalid Content-Length")]
    ContentLengthInvalid,
    /// Content-Length and Transfer-Encoding in one head (RFC 9112 6.1).
    #[error("Content-Length with Transfer-Encoding")]
    ContentLengthWithTransferEncoding,
    /// A Transfer-Encoding other than one `chunked`.
    #[error("Transfer-Encoding other than a single chunked")]
    TransferEncoding,
    /// Transfer-Encoding in an HTTP/1.0 request (RFC 9112 6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// An Upgrade line that is longer than the gate looks at.
    #[error("Upgrade field too long")]
    UpgradeTooLong,
    /// A chunk's size is missing, not hexadecimal digits alone, longer than 16 of them, or greater
    /// than 2^63-1.
    #[error("invalid chunk size")]
    ChunkSize,
    /// A chunk extension with a control character, or longer than the gate takes.
    #[error("invalid chunk extension")]
    ChunkExtension,
    /// A chunk's data is not followed by CRLF.
    #[error("chunk data not ended by CRLF")]
    ChunkEnd,
    /// Content-Length or Transfer-Encoding among the trailers (RFC 9110 6.5.1).
    #[error("framing field in trailers")]
    FramingInTrailers,
}

/// Where a violation stands and what hyper is to read there.
#[derive(Debug)]
struct Violation {
    refusal: Refusal,
    /// Offset in the bytes at hand.
    at: usize,
    spoil: u8,
}

impl Violation {
    /// A NUL stands nowhere in a head, in trailers, in a chunk's size or about its end.
    fn nul(refusal: Refusal, at: usize) -> Self {
        Self {
            refusal,
            at,
            spoil: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In front of a request line or inside it.
    RequestLine,
    Fields,
    /// So many bytes of a body that are not looked at.
    Body(u64),
    Chunks(Chunks),
    Trailers,
    /// The bytes are no longer HTTP.
    Open,
}

/// The strict reader of one client connection's request framing.
#[derive(Debug)]
pub struct Gate {
    stage: Stage,
    lines: Lines,
    head: Head,
    refused: Option<Refusal>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A gate at the first byte of a connection.
    pub fn new() -> Self {
        Self {
            stage: Stage::RequestLine,
            lines: Lines::new(),
            head: Head::default(),
            refused: None,
        }
    }

    /// Walks the bytes that were just read from the client, before hyper sees them.
    ///
    /// At the first violation, and only then, it gives the reason, having overwritten the byte at
    /// fault so that hyper must refuse the head with a 400, or fail the chunked body. Nothing behind
    /// that byte is looked at any more, neither in this read nor in later ones.
    pub fn admit(&mut self, bytes: &mut [u8]) -> Option<Refusal> {
        let Err(violation) = self.walk(bytes) else {
            return None;
        };
        if let Some(byte) = bytes.get_mut(violation.at) {
            *byte = violation.spoil;
        }
        self.refused = Some(violation.refusal);
        self.refused
    }

    /// Whether a request's head has begun and is not complete. One that was refused stays so.
    pub fn in_head(&self) -> bool {
        match self.stage {
            Stage::RequestLine => !self.lines.at_start() || self.refused.is_some(),
            Stage::Fields => true,
            _ => false,
        }
    }

    /// Why this connection was refused, if it was.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    fn walk(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.refused.is_some() {
            return Ok(());
        }
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.stage {
                Stage::Fields => {
                    let Some((line, next)) = self.lines.next(bytes, at)? else {
                        return Ok(());
                    };
                    at = next;
                    if line.is_empty() {
                        self.stage = self.head.end();
                    } else {
                        self.head
                            .field(&line)
                            .map_err(|refusal| at_line_end(refusal, next))?;
                    }
                }
                Stage::RequestLine | Stage::Trailers => {
                    let Some((line, next)) = self.lines.next(bytes, at)? else {
                        return Ok(());
                    };
                    at = next;
                    let begins = self.stage == Stage::RequestLine;
                    match (begins, line.is_empty()) {
                        // RFC 9112 2.2: empty lines in front of a request line are ignored.
                        (true, true) => {}
                        (true, false) => {
                            self.head =
                                Head::new(&line).map_err(|refusal| at_line_end(refusal, next))?;
                            self.stage = Stage::Fields;
                        }
                        (false, true) => self.stage = self.head.behind_message(),
                        (false, false) => {
                            head::trailer(&line).map_err(|refusal| at_line_end(refusal, next))?;
                        }
                    }
                }
                Stage::Body(left) => {
                    at += step_over(left, bytes.len() - at);
                    if *left == 0 {
                        self.stage = self.head.behind_message();
                    }
                }
                Stage::Chunks(chunks) => {
                    at = chunks.walk(bytes, at)?;
                    if *chunks == Chunks::Last {
                        self.stage = Stage::Trailers;
                    }
                }
                Stage::Open => return Ok(()),
            }
        }
        Ok(())
    }
}

/// The violation of a whole line stands at its LF; the next line begins at `next`.
fn at_line_end(refusal: Refusal, next: usize) -> Violation {
    Violation::nul(refusal, next - 1)
}

/// Takes from `left` what of it stands in `here` bytes, and says how much that was.
fn step_over(left: &mut u64, here: usize) -> usize {
    let step = usize::try_from(*left).map_or(here, |left| left.min(here));
    *left = left.saturating_sub(step as u64);
    step
}
