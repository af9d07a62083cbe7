//! One direction of a relayed session.

use super::boundary::{Boundary, Sender};

/// What could not be written yet.
#[derive(Debug)]
pub(super) struct Spill {
    bytes: Vec<u8>,
    written: usize,
}

impl Spill {
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }
}

/// The state of the bytes that go from one half, the source, to the other, the destination.
#[derive(Debug)]
pub(super) struct Flow {
    /// Where the messages end, in a WebSocket.
    pub(super) boundary: Boundary,
    /// Held only while a write is partial.
    spill: Option<Box<Spill>>,
    /// Bytes taken from the source.
    pub(super) bytes: u64,
    /// The source may have more: an edge was seen, and no read has come back short since.
    pub(super) readable: bool,
    /// The source has said that it will send no more; what it sent may still wait to be read.
    pub(super) hung_up: bool,
    /// The end of the source's stream was read.
    pub(super) ended: bool,
    /// The destination was told that nothing more will come.
    pub(super) finished: bool,
    /// Nothing more may be sent to the destination: what still comes is undelivered.
    pub(super) muted: bool,
}

impl Flow {
    pub(super) fn new(sender: Sender) -> Flow {
        Flow {
            boundary: Boundary::new(sender),
            spill: None,
            bytes: 0,
            readable: false,
            hung_up: false,
            ended: false,
            finished: false,
            muted: false,
        }
    }

    /// Whether a write is partial; nothing is read meanwhile.
    pub(super) fn is_spilling(&self) -> bool {
        self.spill.is_some()
    }

    /// What waits to be written.
    pub(super) fn spilled(&self) -> &[u8] {
        self.spill.as_ref().map_or(&[], |spill| spill.rest())
    }

    /// Keeps what did not fit, behind what did not fit before.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        match &mut self.spill {
            Some(spill) => spill.bytes.extend_from_slice(bytes),
            None => {
                self.spill = Some(Box::new(Spill {
                    bytes: bytes.to_vec(),
                    written: 0,
                }));
            }
        }
    }

    /// Takes away what was written; the buffer is given back with its last byte.
    pub(super) fn written(&mut self, n: usize) {
        if let Some(spill) = &mut self.spill {
            spill.written += n;
            if spill.rest().is_empty() {
                self.spill = None;
            }
        }
    }

    /// Gives up what waits to be written, and says how much it was.
    pub(super) fn give_up(&mut self) -> u64 {
        self.spill
            .take()
            .map_or(0, |spill| spill.rest().len() as u64)
    }
}
