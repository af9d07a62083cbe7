//! Bytes that wait; the buffer is given back with its last byte.

/// Bytes that wait to be taken, first come first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    taken: usize,
}

impl Kept {
    /// What waits.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts bytes behind those that wait.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Notes that the first `n` are gone.
    pub(super) fn advance(&mut self, n: usize) {
        self.taken += n;
        if self.is_empty() {
            *self = Kept::default();
        }
    }

    /// Moves as much as fits, and says how much that was.
    pub(super) fn take(&mut self, out: &mut [u8]) -> usize {
        let n = self.len().min(out.len());
        out[..n].copy_from_slice(&self.rest()[..n]);
        self.advance(n);
        n
    }
}
