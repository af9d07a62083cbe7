//! The floor: the least that a relay can do. One thread, one edge-triggered epoll set, one scratch buffer.
//!
//! It carries bytes, half-closes and backpressure correctly, and nothing else: no counts, limits, timeouts or
//! drain. What another relay costs beyond it is the price of what that relay does.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::child::first_match;
use crate::Result;

/// The listener's place in the epoll set; halves are numbered from 0.
const LISTENER: u64 = u64::MAX;
/// As much as a stream socket's buffers usually hold on loopback.
const SCRATCH: usize = 64 * 1024;

/// One side of a session. The other side is the entry whose number differs in the lowest bit.
struct Half {
    socket: TcpStream,
    /// Bytes for this socket that the kernel has not taken yet; while there are some, the other side is not read.
    spill: Vec<u8>,
    /// The other side has said that it sends no more.
    fin_due: bool,
    /// This side sends no more.
    ended: bool,
}

/// Starts it in front of this agent, as a process of the bench's own program, which has to call [`be`] when it is
/// started like this; and where it listens.
pub(crate) fn spawn(agent: SocketAddr) -> Result<(Child, Result<SocketAddr>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--be-floor-of", &agent.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("no stdout")?;
    let address = first_match(out, |line| line.trim().parse().ok());
    Ok((child, address))
}

/// Is the floor in front of this agent, for ever.
pub(crate) fn be(agent: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // As many may come at once as to the others.
    rustix::net::listen(&listener, 4096)?;
    println!("{}", listener.local_addr()?);
    serve(&listener, agent)
}

/// Relays between clients of `listener` and `upstream` for ever.
fn serve(listener: &TcpListener, upstream: SocketAddr) -> Result<()> {
    listener.set_nonblocking(true)?;
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&set, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut halves: Vec<Option<Half>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut scratch = vec![0; SCRATCH];
    let mut events = [Event {
        flags: EventFlags::empty(),
        data: EventData::new_u64(0),
    }; 256];
    let mut gone = Vec::new();
    loop {
        let ready = match epoll::wait(&set, &mut events, None) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            let token = event.data.u64();
            if token == LISTENER {
                accept(listener, upstream, &set, &mut halves, &mut free)?;
                continue;
            }
            let at = usize::try_from(token)?;
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) {
                flush(&mut halves, at, &mut scratch);
            }
            if flags
                .intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
            {
                pump(&mut halves, at, flags, &mut scratch);
            }
            if is_over(&halves, at & !1) {
                gone.push(at & !1);
            }
        }
        // Freed after the batch: a later event of it may still name one of the two.
        for first in gone.drain(..) {
            if halves[first].take().is_some() {
                halves[first + 1] = None;
                free.push(first);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    upstream: SocketAddr,
    set: &impl std::os::fd::AsFd,
    halves: &mut Vec<Option<Half>>,
    free: &mut Vec<usize>,
) -> Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let agent = TcpStream::connect(upstream)?;
        let first = free.pop().unwrap_or_else(|| {
            halves.extend([None, None]);
            halves.len() - 2
        });
        for (at, socket) in [(first, client), (first + 1, agent)] {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(set, &socket, EventData::new_u64(at as u64), flags)?;
            halves[at] = Some(Half {
                socket,
                spill: Vec::new(),
                fin_due: false,
                ended: false,
            });
        }
    }
}

/// Reads `at` until it has nothing more and writes that to its other side.
fn pump(halves: &mut [Option<Half>], at: usize, flags: EventFlags, scratch: &mut [u8]) {
    // With a hang-up in the event, a short read does not mean that the socket is dry: the end is still to be read.
    let to_the_end = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    let (Some(from), Some(to)) = pair(halves, at) else {
        return;
    };
    while !from.ended && to.spill.is_empty() {
        match from.socket.read(scratch) {
            Ok(0) => {
                from.ended = true;
                to.fin_due = true;
                fin_if_due(to);
            }
            Ok(n) => {
                let taken = match to.socket.write(&scratch[..n]) {
                    Ok(taken) => taken,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(_) => return abandon(from, to),
                };
                to.spill.extend_from_slice(&scratch[taken..n]);
                if n < scratch.len() && !to_the_end {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return abandon(from, to),
        }
    }
}

/// Writes what is spilled for `at`; once it is gone, its other side is read again.
fn flush(halves: &mut [Option<Half>], at: usize, scratch: &mut [u8]) {
    let (Some(to), Some(from)) = pair(halves, at) else {
        return;
    };
    if to.spill.is_empty() {
        return;
    }
    match to.socket.write(&to.spill) {
        Ok(taken) => {
            to.spill.drain(..taken);
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
        Err(_) => return abandon(from, to),
    }
    if to.spill.is_empty() {
        to.spill = Vec::new();
        fin_if_due(to);
        pump(halves, at ^ 1, EventFlags::RDHUP, scratch);
    }
}

fn fin_if_due(to: &Half) {
    if to.fin_due && to.spill.is_empty() {
        // A socket that is gone already needs no FIN.
        let _ = to.socket.shutdown(Shutdown::Write);
    }
}

fn abandon(a: &mut Half, b: &mut Half) {
    for half in [a, b] {
        half.ended = true;
        half.spill = Vec::new();
    }
}

fn is_over(halves: &[Option<Half>], first: usize) -> bool {
    matches!(&halves[first..first + 2], [Some(a), Some(b)]
        if a.ended && b.ended && a.spill.is_empty() && b.spill.is_empty())
}

/// The half at `at`, then its other side.
fn pair(halves: &mut [Option<Half>], at: usize) -> (Option<&mut Half>, Option<&mut Half>) {
    let first = at & !1;
    let (left, right) = halves[first..first + 2].split_at_mut(1);
    if at == first {
        (left[0].as_mut(), right[0].as_mut())
    } else {
        (right[0].as_mut(), left[0].as_mut())
    }
}
