//! Large transfers go through a pipe: the kernel moves pages from socket to socket and copies no
//! bytes (splice(2)).
//!
//! A pipe costs two descriptors and, while there are bytes in it, memory of the kernel. So a worker
//! has a few, and a session has one only as long as its destination does not take what is in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// The most that is taken at once, and so held back by a session that is stalled.
const PORTION: usize = 128 * 1024;
/// The size of a pipe. It has a place for each 4 KiB of that, and each page that bytes come in takes one, be it full or
/// not: by default they are 16, which a single packet of a loopback may fill.
const ROOM: usize = 256 * 1024;
/// Pipes of one worker. Where they are all in use, bytes are copied as ever.
const MOST: usize = 8;

/// A pipe with the bytes of one direction of one session in it.
#[derive(Debug)]
pub(super) struct Pipe {
    outlet: OwnedFd,
    inlet: OwnedFd,
    held: usize,
    /// Counts the pipes of the worker.
    _of: Rc<()>,
}

impl Pipe {
    fn new(of: &Rc<()>) -> io::Result<Pipe> {
        let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where a user may have no more of them so large, it takes less at once.
        let _ = fcntl_setpipe_size(&inlet, ROOM);
        Ok(Pipe {
            outlet,
            inlet,
            held: 0,
            _of: Rc::clone(of),
        })
    }

    /// How many bytes are in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes what a socket has; zero is the end of its stream. To be called on an empty pipe: a
    /// full one, too, would block.
    pub(super) fn fill(&mut self, source: impl AsFd) -> io::Result<usize> {
        let n = moved(source, &self.inlet, PORTION)?;
        self.held += n;
        Ok(n)
    }

    /// Gives a socket what it takes; zero when that is nothing.
    pub(super) fn empty(&mut self, destination: impl AsFd) -> io::Result<usize> {
        match moved(&self.outlet, destination, self.held) {
            Ok(n) => {
                self.held -= n;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(e) => Err(e),
        }
    }
}

fn moved(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match splice(&from, None, &to, None, length, flags) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Whether an error says that this kernel, or what a sandbox leaves of it, does not splice sockets.
pub(super) fn cannot_splice(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)
    )
}

/// A worker's pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    idle: Vec<Pipe>,
    /// Held by each of them, be it idle or lent.
    all: Rc<()>,
    /// The kernel moves nothing here, or may not.
    unusable: bool,
}

impl Pipes {
    /// An empty pipe, if there is one to be had.
    pub(super) fn lend(&mut self) -> Option<Pipe> {
        if self.unusable {
            return None;
        }
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if Rc::strong_count(&self.all) > MOST {
            return None;
        }
        // Without a descriptor left, bytes are copied.
        Pipe::new(&self.all).ok()
    }

    /// Lends no more: from here on bytes are copied.
    pub(super) fn do_without(&mut self) {
        self.unusable = true;
        self.idle.clear();
    }

    /// Takes an empty pipe back. One that is dropped instead makes room for another.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        debug_assert_eq!(pipe.held, 0, "a pipe is given back empty");
        self.idle.push(pipe);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use rustix::pipe::fcntl_getpipe_size;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        for socket in [&near, &far] {
            socket.set_nonblocking(true).unwrap();
        }
        (near, far)
    }

    #[test]
    fn a_portion_fits_though_its_pages_are_half_empty() {
        let pipe = Pipes::default().lend().unwrap();
        let places = fcntl_getpipe_size(&pipe.inlet).unwrap() / 4096;
        assert!(places >= 2 * PORTION / 4096, "{places} places");
    }

    #[test]
    fn bytes_go_through_in_their_order_and_the_end_is_seen() {
        let (mut client, client_side) = pair();
        let (agent_side, mut agent) = pair();
        let mut pipe = Pipes::default().lend().unwrap();
        client.write_all(b"words").unwrap();
        assert_eq!(pipe.fill(&client_side).unwrap(), 5);
        assert_eq!(pipe.held(), 5);
        let nothing = pipe.fill(&client_side).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(pipe.empty(&agent_side).unwrap(), 5);
        assert_eq!(pipe.held(), 0);
        agent.set_nonblocking(false).unwrap();
        let mut heard = [0; 5];
        agent.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"words");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(pipe.fill(&client_side).unwrap(), 0);
    }

    #[test]
    fn a_destination_that_is_full_takes_nothing_and_loses_nothing() {
        let (mut client, client_side) = pair();
        let (mut agent_side, _agent) = pair();
        while agent_side.write(&[0; 65_536]).is_ok() {}
        let mut pipe = Pipes::default().lend().unwrap();
        client.write_all(b"words").unwrap();
        pipe.fill(&client_side).unwrap();
        assert_eq!(pipe.empty(&agent_side).unwrap(), 0);
        assert_eq!(pipe.held(), 5);
    }

    #[test]
    fn where_nothing_can_be_moved_no_pipe_is_lent() {
        let mut pipes = Pipes::default();
        let pipe = pipes.lend().unwrap();
        for errno in [Errno::INVAL, Errno::PERM, Errno::NOSYS] {
            assert!(cannot_splice(&errno.into()), "{errno}");
        }
        for errno in [Errno::CONNRESET, Errno::AGAIN, Errno::PIPE] {
            assert!(!cannot_splice(&errno.into()), "{errno}");
        }
        pipes.give_back(pipe);
        pipes.do_without();
        assert!(pipes.lend().is_none() && pipes.idle.is_empty());
    }

    #[test]
    fn a_worker_lends_a_few_and_again_what_came_back_empty() {
        let mut pipes = Pipes::default();
        let lent: Vec<_> = (0..MOST).map(|_| pipes.lend().unwrap()).collect();
        assert!(pipes.lend().is_none());
        let mut lent = lent.into_iter();
        drop(lent.next());
        assert!(
            pipes.lend().is_some(),
            "in the place of the one that is gone"
        );
        lent.for_each(|pipe| pipes.give_back(pipe));
        assert_eq!(pipes.idle.len(), MOST - 1);
    }
}
