//! One direction of a relayed session.

use super::boundary::{Boundary, Sender};
use super::pipe::Pipe;

/// So many full reads in a row are a large transfer.
const BULK: u8 = 8;

/// What could not be written yet.
#[derive(Debug, Default)]
pub(super) struct Spill {
    /// With bytes in it that come before the others.
    pipe: Option<Pipe>,
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
    /// Reads in a row that have filled the whole buffer.
    full_reads: u8,
    /// Much was taken from the source in the session's last turn.
    pub(super) moves_much: bool,
    /// Bytes taken from the source.
    pub(super) bytes: u64,
    /// The source may have more: an edge was seen, and no read has come back short since.
    pub(super) readable: bool,
    /// Whatever a read finds, the next one tells more: of an end, or of an error.
    pub(super) hung_up: bool,
    /// The source's FIN has come, and no error since; what was sent before it may wait to be read.
    pub(super) fin: bool,
    /// The end of the source's stream was read.
    pub(super) ended: bool,
    /// The destination was told that nothing more will come.
    pub(super) finished: bool,
    /// Nothing more may be sent to the destination: what still comes is undelivered.
    pub(super) muted: bool,
}

impl Flow {
    /// Nothing has gone this way. Over TLS there may be something to read of which the socket says
    /// nothing.
    pub(super) fn new(sender: Sender, is_tls: bool) -> Flow {
        Flow {
            boundary: Boundary::new(sender),
            spill: None,
            full_reads: 0,
            moves_much: false,
            bytes: 0,
            readable: is_tls,
            hung_up: false,
            fin: false,
            ended: false,
            finished: false,
            muted: false,
        }
    }

    /// Whether a write is partial; nothing is read meanwhile.
    pub(super) fn is_spilling(&self) -> bool {
        self.spill.is_some()
    }

    /// Notes whether a read has filled the whole buffer.
    pub(super) fn note_read(&mut self, full: bool) {
        self.full_reads = match full {
            true => self.full_reads.saturating_add(1),
            false => 0,
        };
    }

    /// Whether so much comes that it is worth moving pages.
    pub(super) fn is_bulk(&self) -> bool {
        self.full_reads >= BULK
    }

    /// Has a pipe with bytes in it wait for the destination.
    pub(super) fn hold(&mut self, pipe: Pipe) {
        self.spill.get_or_insert_default().pipe = Some(pipe);
    }

    /// What is in the pipe.
    pub(super) fn pipe(&mut self) -> Option<&mut Pipe> {
        self.spill.as_mut()?.pipe.as_mut()
    }

    /// Takes the pipe away, which is empty by now.
    pub(super) fn release(&mut self) -> Option<Pipe> {
        let spill = self.spill.as_mut()?;
        let pipe = spill.pipe.take();
        if spill.rest().is_empty() {
            self.spill = None;
        }
        pipe
    }

    /// What waits to be written.
    pub(super) fn spilled(&self) -> &[u8] {
        self.spill.as_ref().map_or(&[], |spill| spill.rest())
    }

    /// Keeps what did not fit, behind what did not fit before.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let spill = self.spill.get_or_insert_default();
        spill.bytes.extend_from_slice(bytes);
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

    /// How much waits to be written.
    pub(super) fn held(&self) -> u64 {
        let piped = |spill: &Spill| spill.pipe.as_ref().map_or(0, Pipe::held);
        let spill = self.spill.as_ref();
        spill.map_or(0, |spill| (spill.rest().len() + piped(spill)) as u64)
    }

    /// Gives up what waits to be written, and says how much it was.
    pub(super) fn give_up(&mut self) -> u64 {
        let Some(spill) = self.spill.take() else {
            return 0;
        };
        let held = spill.pipe.as_ref().map_or(0, Pipe::held);
        (spill.rest().len() + held) as u64
    }
}
