//! The agent's socket as hyper sees it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Socket;

use super::gather::{Gathered, MOST, gather};
use super::written_head::WrittenHead;

/// What has gone before on a connection that comes into hyper's hands with its first request written already: what
/// hyper writes of that goes nowhere.
#[derive(Default)]
pub(super) struct Asked {
    /// What has come of the answer.
    answer: Bytes,
    /// Whether hyper has written the request, and is to read the answer.
    is_told: bool,
    /// hyper, waiting for it.
    reader: Option<Waker>,
}

impl Asked {
    /// With so much of the answer read.
    pub(super) fn answered(answer: Bytes) -> Asked {
        Asked {
            answer,
            ..Asked::default()
        }
    }

    /// Whether nothing has come of the answer.
    pub(super) fn is_unanswered(&self) -> bool {
        self.answer.is_empty()
    }

    /// Takes what hyper writes.
    fn swallow(&mut self, n: usize) -> Poll<io::Result<usize>> {
        self.is_told = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(n))
    }

    /// Gives what has come of the answer: ready with nothing when all is given.
    fn poll_answer(&mut self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        if !self.is_told {
            // An answer before the request would be a violation to hyper.
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = self.answer.len().min(buf.remaining());
        buf.put_slice(&self.answer.split_to(n));
        Poll::Ready(())
    }
}

/// An agent's socket.
pub(super) struct AgentIo {
    pub(super) socket: Socket,
    /// Where heads are noted on their way.
    pub(super) written: WrittenHead,
    /// Where its first request was not hyper's.
    pub(super) asked: Option<Box<Asked>>,
}

impl AsyncRead for AgentIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(asked) = &mut self.asked {
            let before = buf.filled().len();
            ready!(asked.poll_answer(cx, buf));
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            self.asked = None;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for AgentIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(asked) = &mut self.asked {
            return asked.swallow(bytes.len());
        }
        self.written.note(&[IoSlice::new(bytes)]);
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(asked) = &mut self.asked {
            return asked.swallow(pieces.iter().map(|piece| piece.len()).sum());
        }
        self.written.note(pieces);
        let socket = Pin::new(&mut self.socket);
        let mut room = [MaybeUninit::uninit(); MOST];
        match gather(pieces, &mut ReadBuf::uninit(&mut room)) {
            Gathered::One(bytes) => socket.poll_write(cx, bytes),
            Gathered::Many => socket.poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
