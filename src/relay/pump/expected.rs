//! An agent's socket that the pump watches before its session begins: nobody else watches it meanwhile, and it is
//! not put from one readiness set into another.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd as _;
use std::task::{Context, Poll};

use mio::event::Event;
use mio::unix::SourceFd;
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::{Inner, Pump};
use crate::relay::half::watch;
use crate::relay::relayed::token;
use crate::session::Direction;

/// A connected, non-blocking socket of a session to come, watched by the pump.
#[derive(Debug)]
pub struct Expected {
    place: Place,
    socket: Socket,
}

/// The place that a pump keeps for a session, given up when this is dropped before the session has begun.
#[derive(Debug)]
pub struct Place {
    pump: Pump,
    pub(super) slot: usize,
}

impl Pump {
    /// Watches an agent's socket, TCP or unix, for a session to come.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn expect(&self, socket: Socket) -> io::Result<Expected> {
        let place = self.keep_place(&socket)?;
        Ok(Expected { place, socket })
    }

    /// Watches a socket under the token of a place that is kept from now on.
    pub(super) fn keep_place(&self, socket: &Socket) -> io::Result<Place> {
        let slot = self.inner.borrow_mut().slots.keep();
        let pump = self.clone();
        // Given up with an error.
        let place = Place { pump, slot };
        let token = token(slot, Direction::ToClient);
        watch(socket, &self.inner.borrow().registry, token)?;
        Ok(place)
    }
}

impl Expected {
    /// Writes what fits.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when nothing fits.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| {
            send(&self.socket, bytes, SendFlags::NOSIGNAL)
        })?)
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) {
        poll_fn(|cx| self.poll_readable(cx)).await;
    }

    fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        let Place { pump, slot } = &self.place;
        match pump.inner.borrow_mut().slots.news(*slot) {
            Some(news) if !news.is_any() => {
                news.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Reads what there is; zero is the end of the stream.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` where nothing has come.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len();
        let read = retry_on_intr(|| recv(&self.socket, &mut *buffer, RecvFlags::empty()));
        let Place { pump, slot } = &self.place;
        if let Some(news) = pump.inner.borrow_mut().slots.news(*slot) {
            // A short read has emptied the socket (epoll(7)); the next bytes are an edge.
            news.readable = matches!(read, Ok((n, _)) if n == room);
        }
        Ok(read?.0)
    }

    #[cfg(test)]
    pub(super) fn slot(&self) -> usize {
        self.place.slot
    }

    /// The socket, and the place where its session begins.
    pub fn into_parts(self) -> (Socket, Place) {
        (self.socket, self.place)
    }

    /// The socket, watched by nobody.
    ///
    /// # Errors
    /// When it cannot be taken out of the pump's readiness set.
    pub fn into_socket(self) -> io::Result<Socket> {
        let fd = self.socket.as_raw_fd();
        let inner = self.place.pump.inner.borrow();
        inner.registry.deregister(&mut SourceFd(&fd))?;
        drop(inner);
        Ok(self.socket)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pump.inner.borrow_mut().slots.give_up(self.slot);
    }
}

impl Inner {
    /// Notes what the kernel says of a socket whose session has not begun.
    pub(super) fn hear(&mut self, slot: usize, event: &Event) {
        let Some(news) = self.slots.news(slot) else {
            return;
        };
        news.hung_up |= event.is_read_closed() || event.is_error();
        news.readable |= event.is_readable();
        if news.is_any()
            && let Some(waker) = news.waker.take()
        {
            waker.wake();
        }
    }
}
