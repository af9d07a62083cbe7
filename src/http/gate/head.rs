//! What a head's lines say about framing.

use http::header::UPGRADE;
use http::{Method, Request, Version};

use super::chunks::Chunks;
use super::lines::Line;
use super::{Refusal, Stage, scan};

/// Lengths above this are refused: agents that keep them in signed 64 bits would read another one.
pub(super) const MAX_LENGTH: u64 = i64::MAX as u64;

/// What the lines of a head have said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    http_10: bool,
    content_length: Option<u64>,
    chunked: bool,
    /// The gate stands open behind this message.
    opens: bool,
}

impl Head {
    pub(super) fn new(request_line: &Line<'_>) -> Result<Self, Refusal> {
        if request_line.start.first().is_some_and(is_space) {
            return Err(Refusal::ObsFold);
        }
        Ok(Self {
            http_10: request_line.end == b"HTTP/1.0",
            opens: request_line.start.starts_with(b"CONNECT "),
            ..Self::default()
        })
    }

    #[inline]
    pub(super) fn field(&mut self, line: &Line<'_>) -> Result<(), Refusal> {
        let Some((name, value)) = split(line)? else {
            return Ok(());
        };
        match name {
            Name::ContentLength => {
                if self.content_length.is_some() {
                    return Err(Refusal::ContentLengthTwice);
                }
                if self.chunked {
                    return Err(Refusal::ContentLengthWithTransferEncoding);
                }
                let length = if line.long { None } else { digits(value) };
                self.content_length = Some(length.ok_or(Refusal::ContentLengthInvalid)?);
            }
            Name::TransferEncoding => {
                if self.content_length.is_some() {
                    return Err(Refusal::ContentLengthWithTransferEncoding);
                }
                if self.http_10 {
                    return Err(Refusal::TransferEncodingInHttp10);
                }
                if self.chunked || line.long || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferEncoding);
                }
                self.chunked = true;
            }
            Name::Upgrade => {
                if line.long {
                    return Err(Refusal::UpgradeTooLong);
                }
                self.opens |= !self.http_10 && is_real_upgrade(value);
            }
        }
        Ok(())
    }

    /// The stage behind the empty line that ends the head.
    pub(super) fn end(&self) -> Stage {
        match self.content_length {
            _ if self.chunked => Stage::Chunks(Chunks::START),
            None => self.behind_message(),
            Some(length) => Stage::Body(length),
        }
    }

    /// The stage behind the body or its trailers.
    pub(super) fn behind_message(&self) -> Stage {
        if self.opens {
            Stage::Open
        } else {
            Stage::RequestLine
        }
    }
}

/// Whether the gate stands open behind this request: a CONNECT, or an upgrade to more than `h2c`.
///
/// Nothing that the client sends behind it is checked, so whoever answers such a request with
/// anything but the upgrade has to close the connection after the answer.
pub fn opens<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
        || (request.version() == Version::HTTP_11
            && request
                .headers()
                .get_all(UPGRADE)
                .iter()
                .any(|v| is_real_upgrade(v.as_bytes())))
}

/// A trailer field, which may say nothing about framing.
pub(super) fn trailer(line: &Line<'_>) -> Result<(), Refusal> {
    match split(line)? {
        Some((Name::ContentLength | Name::TransferEncoding, _)) => Err(Refusal::FramingInTrailers),
        _ => Ok(()),
    }
}

enum Name {
    ContentLength,
    TransferEncoding,
    Upgrade,
}

/// Name and value of a field line that matters here; `None` for all others.
#[inline]
fn split<'a>(line: &Line<'a>) -> Result<Option<(Name, &'a [u8])>, Refusal> {
    let len = match scan::name_end(line.start) {
        Some(0) if is_space(&line.start[0]) => return Err(Refusal::ObsFold),
        Some(len) if len > 0 && line.start[len] == b':' => len,
        Some(len) if len > 0 && is_space(&line.start[len]) => {
            return Err(Refusal::SpaceBeforeColon);
        }
        // A name that is longer than what is looked at is none of those that matter.
        None if line.long => return Ok(None),
        _ => return Err(Refusal::FieldName),
    };
    let (name, value) = (&line.start[..len], &line.start[len + 1..]);
    let name = match len {
        7 if name.eq_ignore_ascii_case(b"upgrade") => Name::Upgrade,
        14 if resembles(name, b"content-length") => {
            exactly(name, b"content-length", Name::ContentLength)?
        }
        17 if resembles(name, b"transfer-encoding") => {
            exactly(name, b"transfer-encoding", Name::TransferEncoding)?
        }
        _ => return Ok(None),
    };
    Ok(Some((name, trim(value))))
}

/// Equal but for case, and for `_` in place of `-`: what CGI and WSGI make the same variable of.
fn resembles(name: &[u8], known: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
    name.iter().zip(known).all(same)
}

fn exactly(name: &[u8], known: &[u8], is: Name) -> Result<Name, Refusal> {
    if name.eq_ignore_ascii_case(known) {
        Ok(is)
    } else {
        Err(Refusal::FramingLookalike)
    }
}

/// Whether an Upgrade field names a protocol other than `h2c`, which is never passed on.
fn is_real_upgrade(value: &[u8]) -> bool {
    let mut protocols = value.split(|byte| *byte == b',').map(trim);
    protocols.any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"h2c"))
}

fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let length = value.iter().try_fold(0u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    (length <= MAX_LENGTH).then_some(length)
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the optional whitespace about it (RFC 9110 5.6.3): spaces and tabs, nothing else.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_space(first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(last)
    {
        value = rest;
    }
    value
}
