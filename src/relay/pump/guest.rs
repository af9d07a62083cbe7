//! An agent's socket that the pump watches for somebody else: for as long as that needs, or until its session begins,
//! with nothing put from one readiness set into another.

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
use crate::relay::relayed::{CHUNK, token};
use crate::session::Direction;

/// A connected, non-blocking socket of no session, watched by the pump.
#[derive(Debug)]
pub struct Guest {
    place: Place,
    socket: Socket,
}

/// A guest's place in the pump, which a session may take over. It is given up when this is dropped before.
#[derive(Debug)]
pub struct Place {
    pump: Pump,
    pub(super) slot: usize,
}

impl Pump {
    /// Watches an agent's socket, TCP or unix.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn host(&self, socket: Socket) -> io::Result<Guest> {
        let place = self.keep_place(&socket)?;
        Ok(Guest { place, socket })
    }

    /// Watches an agent's socket under the token of a place that is kept from now on.
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

impl Guest {
    /// Writes what fits.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when nothing fits.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| {
            send(&self.socket, bytes, SendFlags::NOSIGNAL)
        })?)
    }

    /// Ready when there may be something to read.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        let Place { pump, slot } = &self.place;
        match pump.inner.borrow_mut().slots.news(*slot) {
            Some(news) if !news.is_any() => {
                let waker = news.waker.as_ref();
                if !waker.is_some_and(|waker| waker.will_wake(cx.waker())) {
                    news.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Reads what there is into the pump's scratch, and has `f` look at it; nothing is the end of the stream. The
    /// pump cannot be asked for anything meanwhile.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` where nothing has come.
    pub fn read<T>(&self, f: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let Place { pump, slot } = &self.place;
        let inner = &mut *pump.inner.borrow_mut();
        let scratch = &mut inner.turn.scratch()[..CHUNK];
        let read = retry_on_intr(|| recv(&self.socket, &mut *scratch, RecvFlags::empty()));
        if let Some(news) = inner.slots.news(*slot) {
            // A short read has emptied the socket (epoll(7)); the next bytes are an edge.
            news.readable = matches!(read, Ok((CHUNK, _)));
            news.hung_up &= read.is_ok();
        }
        let (n, _) = read?;
        Ok(f(&scratch[..n]))
    }

    #[cfg(test)]
    pub(super) fn slot(&self) -> usize {
        self.place.slot
    }

    /// The socket, and the place that its session may take over.
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
    /// Notes what the kernel says of a guest.
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
            self.told += 1;
        }
    }
}
