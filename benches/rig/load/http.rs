//! As much HTTP/1.1 as the load's own requests and answers need.

use memchr::memmem;

use crate::Result;

/// The length of a head, once it is whole.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// What a request asks for: between the first two spaces.
pub(crate) fn target(head: &[u8]) -> Result<&[u8]> {
    let from = memchr::memchr(b' ', head).ok_or("a request without a target")? + 1;
    let len = memchr::memchr(b' ', &head[from..]).ok_or("a request without a version")?;
    Ok(&head[from..from + len])
}

/// The length of the body that a head announces; 0 if it says nothing.
pub(crate) fn content_length(head: &[u8]) -> Result<usize> {
    let Some(value) = field(head, b"content-length") else {
        return Ok(0);
    };
    Ok(std::str::from_utf8(value)?.parse()?)
}

/// The value of a field; its name in lower case.
fn field<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name)
        {
            return Some(line[name.len() + 1..].trim_ascii());
        }
    }
    None
}

/// A whole answer with a length.
pub(crate) struct Reply<'b> {
    /// The body.
    pub(crate) body: &'b [u8],
    /// Head and body.
    pub(crate) len: usize,
}

/// The answer at the beginning of `got`, once it is whole.
pub(crate) fn reply(got: &[u8]) -> Result<Option<Reply<'_>>> {
    let Some(head) = head_len(got) else {
        return Ok(None);
    };
    if !got.starts_with(b"HTTP/1.1 200") {
        return Err(format!("not a 200: {}", String::from_utf8_lossy(&got[..head])).into());
    }
    let len = head + content_length(&got[..head])?;
    Ok((got.len() >= len).then(|| Reply {
        body: &got[head..len],
        len,
    }))
}

/// Takes the chunked coding off a body.
#[derive(Default)]
pub(crate) struct Chunks {
    /// Bytes left of the current chunk, with its final line break.
    left: usize,
}

impl Chunks {
    /// Moves what is whole from `coded` to `plain`.
    pub(crate) fn take(&mut self, coded: &mut Vec<u8>, plain: &mut Vec<u8>) -> Result<()> {
        let mut at = 0;
        loop {
            if self.left > 0 {
                let now = self.left.min(coded.len() - at);
                // The line break is not part of the data.
                let data = now.min(self.left.saturating_sub(2));
                plain.extend_from_slice(&coded[at..at + data]);
                (at, self.left) = (at + now, self.left - now);
                if self.left > 0 {
                    break;
                }
            }
            let Some(line) = memmem::find(&coded[at..], b"\r\n") else {
                break;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&coded[at..at + line])?, 16)?;
            if size == 0 {
                return Err("the stream has ended".into());
            }
            (at, self.left) = (at + line + 2, size + 2);
        }
        coded.drain(..at);
        Ok(())
    }
}
