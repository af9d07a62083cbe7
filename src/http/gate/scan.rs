//! Eight bytes at a time over the lines of a head: most of them end within a few dozen bytes, which
//! a general search pays for once a line, and what is looked for is a range as well as a value.

const WORD: usize = size_of::<u64>();
const ONES: u64 = u64::from_ne_bytes([0x01; WORD]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// Marks the high bit of the bytes below `limit` (at most 0x80). Above the first one marked there
/// may be false marks, below it there are none.
#[inline(always)]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS
}

/// Like [`below`], for the bytes equal to `byte`.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

#[inline(always)]
fn find(bytes: &[u8], mark: impl Fn(u64) -> u64, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (n, word) in words.iter().enumerate() {
        let marks = mark(u64::from_le_bytes(*word));
        if marks != 0 {
            // The lowest mark is that of the first byte, and always a true one.
            return Some(n * WORD + marks.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| is(*byte))?;
    Some(words.len() * WORD + at)
}

/// The first control character but for TAB, DEL not among them.
#[inline]
pub(super) fn control(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + find(&bytes[from..], |word| below(word, b' '), |byte| byte < b' ')?;
        if bytes[at] != b'\t' {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The first colon, space or control character.
#[inline]
pub(super) fn name_end(bytes: &[u8]) -> Option<usize> {
    let ends = |byte| byte <= b' ' || byte == b':';
    find(
        bytes,
        |word| below(word, b' ' + 1) | equal(word, b':'),
        ends,
    )
}
