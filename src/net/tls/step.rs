//! One step of rustls' state machine, the same for both sides of a connection.

use rustls::Error;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus,
};

use super::kept::Kept;

/// Where a step puts what it makes.
pub(super) struct Output<'o> {
    /// For plaintext.
    pub(super) out: &'o mut [u8],
    /// How much of `out` holds plaintext.
    pub(super) filled: usize,
    /// For plaintext that `out` has no room for.
    pub(super) ahead: &'o mut Kept,
    /// For TLS' own words to the peer.
    pub(super) unsent: &'o mut Kept,
}

impl Output<'_> {
    /// Whether more plaintext is wanted. Without an `out`, one record is enough.
    pub(super) fn has_room(&self) -> bool {
        self.ahead.is_empty() && (self.out.is_empty() || self.filled < self.out.len())
    }

    fn plaintext(&mut self, bytes: &[u8]) {
        let n = match self.ahead.is_empty() {
            true => bytes.len().min(self.out.len() - self.filled),
            false => 0,
        };
        self.out[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
        self.filled += n;
        self.ahead.keep(&bytes[n..]);
    }

    fn own_words(&mut self, mut words: EncodeTlsData<'_, impl Sized>) {
        if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
            words.encode(&mut [])
        {
            let mut bytes = vec![0; required_size];
            // It has just said how much it needs.
            let _ = words.encode(&mut bytes);
            self.unsent.keep(&bytes);
        }
    }
}

/// What is to be done once the connection is open.
pub(super) enum Wish<'w> {
    /// Nothing.
    None,
    /// Encrypt the first into the second.
    Seal(&'w [u8], &'w mut [u8]),
    /// Encrypt a close_notify.
    Close(&'w mut [u8]),
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was done, and there may be more.
    Again,
    /// The handshake waits for the peer.
    Shaking,
    /// The handshake is over, and there is no whole record.
    Open,
    /// The wish is fulfilled, with so many bytes.
    Sealed(usize),
    /// The peer has said that it will send no more.
    PeerClosed,
    /// So have we.
    Closed,
}

/// Deals with a state, and says how many bytes of the input are used up.
pub(super) fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    output: &mut Output<'_>,
    wish: Wish<'_>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let state = match status.state {
        Ok(state) => state,
        Err(error) => return (discard, Err(error)),
    };
    let step = match state {
        ConnectionState::ReadTraffic(mut traffic) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    output.plaintext(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        ConnectionState::EncodeTlsData(words) => {
            output.own_words(words);
            Ok(Step::Again)
        }
        ConnectionState::TransmitTlsData(words) => {
            // They stand in `unsent`, before all that follows.
            words.done();
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Step::Shaking),
        ConnectionState::PeerClosed => Ok(Step::PeerClosed),
        ConnectionState::Closed => Ok(Step::Closed),
        ConnectionState::WriteTraffic(mut traffic) => match wish {
            Wish::None => Ok(Step::Open),
            Wish::Seal(bytes, room) => sealed(traffic.encrypt(bytes, room)),
            Wish::Close(room) => sealed(traffic.queue_close_notify(room)),
        },
        _ => Err(Error::General("a state that was not asked for".to_owned())),
    };
    (discard, step)
}

fn sealed(done: Result<usize, EncryptError>) -> Result<Step, Error> {
    let failed = |error: EncryptError| Error::General(error.to_string());
    done.map(Step::Sealed).map_err(failed)
}
